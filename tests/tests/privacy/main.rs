//! What is closed stays closed: no byte and no name of it leaves for a stranger.
//!
//! One program for many files: each test binary links everything zest is made of.

mod closed_models_leave_no_packet;
mod gated_models_leave_no_packet;
mod private_and_gated_models_never_reach_a_peer;
mod what_turns_private_stops_at_once;
mod whatever_order_of_commands_no_packet_names_it;
