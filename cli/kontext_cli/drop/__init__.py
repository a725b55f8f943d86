"""`kontext drop` and `kontext fetch`: one pair put into a stack, waited for, and its picture saved.

command       `kontext drop`, from the first object to the saved picture
fetch         `kontext fetch`
client        a pair put into a stack, and waited for
upload        what of a pair is to be uploaded, so that no more than one picture is paid
input_bucket  what the bucket has of a pair, and parts put into it on conditions
photographs   a person's files, looked at before they are uploaded
saving        where a picture is saved
"""
