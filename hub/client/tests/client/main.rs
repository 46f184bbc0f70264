//! Behaviour of the origin client against small scripted servers on loopback. One program, because linking dominates.

mod a_token_never_leaves_its_origin;
mod bodies_that_break_or_stall_are_noticed;
mod cas_tokens_are_fetched_once_and_renewed;
mod large_repositories_are_asked_for_little;
mod mirrors_and_proxies_are_understood;
mod ranges_are_exactly_what_was_asked_for;
mod reconstructions_fall_back_to_v1;
mod refusals_are_told_apart;
mod retries_are_patient_and_bounded;
mod support;
mod trees_are_read_page_by_page;
