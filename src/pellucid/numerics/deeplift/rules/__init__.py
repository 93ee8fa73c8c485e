"""The rules of the lockstep walk: for each kind of operation the formula of its multipliers, and the table of all."""
