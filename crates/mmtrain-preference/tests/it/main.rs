//! Losses and differences against TRL, the code of mDPO and RLHF-V, `difflib`, and finite differences.

mod diff;
mod fixtures;
mod refusals;
mod rewrites;
mod slopes;
mod stability;
mod trl;
