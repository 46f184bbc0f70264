//! The local endpoint, between a Hub and clients.

mod a_page_from_elsewhere_gets_nothing;
mod any_client_downloads_through_it;
mod clients_ask_as_they_like;
mod common;
mod images_are_made_of_gguf_files;
mod many_clients_at_once;
mod nothing_secret_is_told;
mod what_dies_or_fills_up_is_gone_on_with;
