"""`kontext demo`: two pairs go through the whole stack while you watch.

command     the command
subscriber  a queue that is subscribed to the topic, as an app's backend would be
sheet       the contact sheet that is left
"""
