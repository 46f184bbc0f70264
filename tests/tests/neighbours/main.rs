//! Peers of every kind: those that lie, dawdle or crowd, and those that speak an older or a plainer protocol.
//!
//! One program for many files: each test binary links everything zest is made of.

mod one_honest_peer_among_liars_is_enough;
mod plain_bep_xet_peers_are_used_once_the_chunk_list_is_known;
mod runtimes_agree_on_the_wire;
mod silent_slow_and_mad_peers_do_not_hold_up_a_pull;
mod slow_and_idle_peers_disturb_nobody;
mod the_limits_in_security_md_are_those_of_the_code;
mod who_lies_of_what_it_streams_gives_nothing;
mod wrong_bytes_from_a_peer_get_it_shut_out;
mod zest_0_4_gets_the_answers_it_expects;
mod zest_0_4_peers_are_used_and_every_xorb_is_proven;
