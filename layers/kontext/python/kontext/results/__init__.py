"""What comes out: the picture in the output bucket, and the event on the topic."""
