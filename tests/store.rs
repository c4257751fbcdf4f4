//! The conformance suite of the store: each case runs against every backend. What only a file can show (restart,
//! faults, a killed process) follows behind it.

#[path = "store/accounts.rs"]
mod accounts;
#[path = "store/file.rs"]
mod file;
#[path = "store/keep.rs"]
mod keep;
#[path = "store/kill.rs"]
mod kill;
#[path = "store/lookup.rs"]
mod lookup;
#[path = "store/model.rs"]
mod model;
#[path = "store/people.rs"]
mod people;
#[path = "store/queue.rs"]
mod queue;
#[path = "store/rig.rs"]
mod rig;
#[path = "store/strangers.rs"]
mod strangers;

/// One test per case and backend. A new backend is one more module here.
macro_rules! on_each_backend {
    ($($module:ident: $($case:ident),+;)+) => {
        mod memory {
            $($(#[tokio::test]
            async fn $case() {
                crate::$module::$case(crate::rig::Rig::memory()).await;
            })+)+
        }
        mod sqlite {
            $($(#[tokio::test]
            async fn $case() {
                crate::$module::$case(crate::rig::Rig::file()).await;
            })+)+
        }
    };
}

on_each_backend! {
    queue:
        what_is_committed_waits_as_it_was_given,
        numbers_rise_in_the_order_of_commits,
        a_duplicate_returns_the_earlier_number_and_writes_nothing,
        a_duplicate_is_known_after_delivery_and_within_one_batch,
        the_guard_tells_networks_chats_senders_and_missing_keys_apart,
        a_key_that_counts_for_a_while_counts_from_when_it_was_said,
        a_name_is_committed_once,
        what_waits_is_found_by_network_direction_chat_and_number,
        lanes_with_work_come_by_key_in_pages,
        done_clears_the_body_unless_it_is_archived,
        settling_twice_or_what_is_unknown_changes_nothing,
        retry_keeps_it_waiting,
        seal_gives_all_the_number_of_the_first,
        what_follows_from_a_settlement_is_committed_with_it,
        dead_letters_keep_the_body_and_come_in_pages,
        a_dead_letter_ends_once_and_what_takes_its_place_waits,
        chats_are_found_by_how_their_keys_begin,
        depth_counts_what_waits_and_what_is_dead,
        the_inbox_keeps_items_until_they_are_done;
    lookup:
        a_message_is_found_by_every_id_of_either_side,
        an_id_means_nothing_in_another_chat_or_network,
        the_newest_message_with_an_id_is_found,
        the_last_that_was_said_is_a_message_of_that_way_with_an_id,
        what_is_withdrawn_leaves_the_history_and_is_delivered_all_the_same,
        a_message_shows_what_was_stored,
        history_is_the_newest_archived_ones_oldest_first,
        the_original_is_kept_beside_the_event;
    people:
        an_identity_is_found_both_ways,
        touching_again_updates_name_and_time_only,
        a_clash_names_the_other_one_and_changes_nothing,
        identities_are_apart_by_network_and_kind,
        identities_are_counted_by_network_and_kind,
        the_first_face_holds,
        occupants_come_move_and_go,
        values_are_put_read_and_removed,
        values_are_scanned_by_prefix_in_pages;
    accounts:
        users_register_once_and_choose_again,
        subscriptions_change_in_one_step_and_are_found_from_either_side,
        a_person_has_one_user,
        a_proof_counts_its_tries_and_is_replaced,
        rules_belong_to_their_owner,
        a_picture_is_kept_until_the_next,
        a_user_who_goes_takes_everything_along_and_nothing_else;
    strangers:
        what_a_stranger_says_is_held_and_its_user_asked_once,
        agreeing_releases_it_in_order_with_its_time_ids_and_original_behind_what_waits,
        whoever_is_written_to_is_no_stranger,
        only_so_much_is_held_and_the_rest_is_turned_away,
        what_says_nothing_by_itself_is_held_only_behind_something,
        what_is_turned_away_stays_until_its_sender_is_told_once,
        what_is_held_for_too_long_is_turned_away_and_never_pruned,
        chats_that_a_user_opens_are_counted_and_those_of_others_are_not;
    keep:
        pruning_removes_what_is_old_and_has_arrived,
        pruning_never_touches_what_waits_or_is_dead,
        each_kind_has_its_own_retention_time,
        of_pictures_a_number_is_kept,
        pruning_takes_many_steps,
        keys_depend_on_store_and_purpose,
        the_store_says_that_it_can_be_written,
        closing_waits_for_what_was_asked;
}
