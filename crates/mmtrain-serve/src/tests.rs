//! The server over real sockets, before a model that does as it is told.

mod answers;
mod fake;
mod hostile;
mod keys;
mod load;
mod slow;
mod wire;
