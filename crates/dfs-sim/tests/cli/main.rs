//! The program as its users meet it: real processes, real sockets, real disks.

mod backup;
mod bad_input;
mod bench;
mod exit_code;
mod founding;
mod golden;
mod harness;
mod json;
mod lost_ledger;
mod output;
mod refused;
mod restart;
mod settings;
mod sim;
mod source;
mod stream;
mod tree;
mod typed;
mod unit;
mod up;
