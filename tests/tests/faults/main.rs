//! Lines break, processes die, caches rot and others write into them: nothing is lost, and what is said is true.
//!
//! One program for many files: each test binary links everything zest is made of.

mod a_damaged_file_costs_its_wrong_chunks;
mod an_outage_ends_when_the_line_is_back;
mod caches_of_others_are_used_as_they_are;
mod changed_files_are_not_served;
mod locks_that_others_keep_hold_up_no_pull;
mod one_bad_row_is_one_bad_file;
mod plain_files_go_on_where_they_broke;
mod rot_between_two_runs_is_found_and_mended;
mod what_lies_in_a_cache_is_proven_before_it_is_believed;
