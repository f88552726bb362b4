//! The api from outside: a real listener, real sockets, and behind them a real engine with an owner in memory.

mod client;
mod http;
mod metrics;
mod openapi;
mod orders;
mod owner;
mod resources;
mod wire;
