"""What a person decides.

operate      the stack in a person's hands, and `redeliver`, `redrive`, `pause`, `resume`
resolve      `kontext resolve`; decisions: what is checked before a render that may be paid is settled
taking_back  `kontext cancel`, `kontext again`
forget       everything of a pair is deleted
replay       objects that the stack does not know are told again
reconcile    a table that was restored learns what has been paid since
"""
