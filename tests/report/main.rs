//! `slogate report` as a user meets it: the real binary, its sentences, its exit codes, and counts done by hand.

mod bounds;
mod clear;
mod desk;
mod edges;
mod kinds;
mod latency;
mod shape;
mod unread;
