//! The way in, over real sockets: what is answered, what is stored, and what no peer can do to us.

mod h2;
mod listener;
mod wire;
