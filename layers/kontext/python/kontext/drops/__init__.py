"""What people drop: whose part an object is, what has come of a pair so far, and what the pair asks for."""
