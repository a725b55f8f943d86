"""The log of the functions: JSON lines, whose keys name the pair, the render and Segmind's request."""

from aws_lambda_powertools import Logger

from kontext import text

logger = Logger(json_serializer=text.dumps)
