//! Machines that nobody named find each other, and take their leave.
//!
//! One program for many files: each test binary links everything zest is made of.

mod a_daemon_keeps_its_catalog_near;
mod a_seed_box_is_found_without_being_named;
mod a_seed_box_tells_its_peers_of_each_other;
mod farewells_are_heard_and_late_nodes_are_found;
mod machines_far_apart_meet_through_trackers_and_the_dht;
mod machines_on_one_switch_find_each_other;
mod peers_tell_of_peers;
mod processes_find_each_other;
