//! The binary as scripts and people meet it. One test program, because each one costs a link.

#![cfg(unix)]

mod a_command_runs_through_zest_or_without;
mod a_daemon_can_be_killed_in_any_state;
#[cfg(target_os = "linux")]
mod a_full_disk_stops_no_client;
mod a_linked_model_is_still_shared;
mod bench_believes_no_seeder_that_gives_wrong_bytes;
mod cache_is_listed_emptied_and_mended;
mod command_line_keeps_its_promises;
mod common;
#[cfg(target_os = "linux")]
mod congestion_control_is_what_was_asked_for;
mod ctrl_c_ends_a_pull_cleanly;
mod daemon_gives_one_file_to_a_program;
mod daemon_is_started_asked_and_stopped;
mod demo_leaves_nothing_behind;
mod deployment_fits_the_program;
mod doctor_looks_at_the_way_to_the_bytes;
mod exit_codes_say_whose_fault_it_is;
mod kill_9_costs_a_plain_file_little;
mod large_repositories_cost_what_is_wanted;
mod mirrors_are_used_as_they_are;
mod outages_are_said;
mod peers_are_shown_as_they_are_found;
mod ports_are_shared_sensibly;
mod public_is_one_hubs_word;
mod refusals;
#[cfg(target_os = "linux")]
mod screens_leave_no_ghost;
mod scripted_hub;
mod seed_box_gives_many_neighbours_what_hub_gave_us;
#[cfg(target_os = "linux")]
mod seed_box_stays_small_under_pressure;
#[cfg(target_os = "linux")]
mod seed_box_takes_another_runtime_where_io_uring_is_refused;
mod serve_gives_a_neighbour_what_hub_gave_us;
#[cfg(target_os = "linux")]
#[path = "../../src/ui/terminal.rs"]
mod terminal;
mod warnings_need_no_v;
mod what_comes_by_a_proxy_comes_over_the_line;
mod what_is_denied_is_not_shared;
mod what_is_opened_is_said_once;
mod what_was_not_named_is_not_shared;
mod words;
