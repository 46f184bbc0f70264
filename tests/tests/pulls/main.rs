//! A model is pulled, given and pulled again: the main job from end to end.
//!
//! One program for many files: each test binary links everything zest is made of.

mod a_file_is_read_while_it_comes;
mod a_model_travels_hub_to_a_to_b;
mod a_warm_peer_beats_a_slow_cdn;
mod an_origin_that_gives_each_connection_little_is_asked_by_more;
mod block_cache_gives_right_bytes_whatever_becomes_of_the_file;
mod eight_machines_pull_one_model_together;
mod limits_on_what_is_given_and_received_are_kept;
mod pulls_of_one_session_leave_each_other_alone;
mod safetensors_headers_come_first;
mod small_files_come_from_peers;
mod what_is_proven_is_given_while_the_rest_is_fetched;
mod xorbs_of_real_size_are_shared_while_they_stream;
