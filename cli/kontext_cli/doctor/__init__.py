"""`kontext doctor`: is a stack well, and if not, what is to be done?

command            the command: which checks there are, and how their findings are shown
checks             of a deployment
account_checks     of the vendor's account
standstill_checks  of what does not move
"""
