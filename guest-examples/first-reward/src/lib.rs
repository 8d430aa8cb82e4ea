//! The smallest real reward: pays for an exact match with the reference answer.
