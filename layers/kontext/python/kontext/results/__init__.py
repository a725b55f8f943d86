"""What comes out: the picture in the output bucket, and the event on the topic.

copy           from Segmind's file host into the bucket, in a stream
hosts          which hosts a picture may be fetched from
output_bucket  the one seam to the output bucket
cloudevents    the events on the topic
error_file     error.json for the one who dropped
"""
