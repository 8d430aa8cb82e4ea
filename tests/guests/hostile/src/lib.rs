//! One guest, one mode per sin, to prove that none of them harms the host or a sibling.
