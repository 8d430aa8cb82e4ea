//! Scores the final answer of GSM8K-style completions.
