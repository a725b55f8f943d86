"""`kontext`, the command line. A command's work is in the module of its name; `commands` parses and calls, `main` runs.

Dropping: drop, backfill, fetch, demo
  dropping              one pair put into a stack, and waited for
  sources, plan, upload many pairs: what a table or folder holds, what that would cost, what is to be uploaded
  input_bucket          what the bucket has of a pair, and parts put into it on conditions
  photographs           a person's files, looked at before they are uploaded
  saving, sheet         where a picture is saved; the demo's contact sheet
  subscriber            a subscriber of the topic

Looking: status, explain, webconsole (`kontext console`)
  newest                which pairs there are, the newest first
  records, timeline     the table read for people; what happened to a pair, step by step
  links                 pages of the AWS console

What is wrong: doctor, audit
  checks, account_checks, standstill_checks  of a deployment, of the vendor's account, of what does not move

What a person decides: resolve, operate (redeliver, redrive, pause, resume), replay, reconcile, taking_back
(cancel, again), forget
  decisions             what is checked before a render that may be paid is settled
  unrecorded            objects that the stack does not know

The stack: up (and down), env, segmind
  target, resources     which stack a command speaks to, and what it is made of

terminal, errors        what is printed while a command works, and what ends it
"""
