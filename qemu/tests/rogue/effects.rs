//! Every kind of effect without its grant. Before it stand one granted effect of each kind, of which none may be committed.

use atoll_protocol::fault::Reason::{
    BadValue, Credit, NotGranted, OutsideVault, WrongNeed, WrongReply, WrongRole, WrongTicket,
};
use atoll_rogue::GRANTED;

crate::rogue_tests! {
    Effects {
        a_leaf_answers_no_port: Leaf => WrongReply, GRANTED;
        string_data_answers_no_single_access: Data => WrongReply, GRANTED;
        a_port_raises_no_exception: Exception => WrongReply, GRANTED;
        a_port_access_is_not_run_again: Resume => WrongReply, GRANTED;
        a_port_access_is_not_forwarded: Forward => WrongReply, GRANTED;
        a_port_access_has_no_registers: NeedRegisters => WrongNeed, GRANTED;
        a_port_access_is_not_deferred: Defer => WrongReply, GRANTED;
        a_request_that_was_not_made_is_not_answered: Reply => WrongTicket, GRANTED;
        a_device_sets_no_register: Register => WrongRole, GRANTED;
        a_device_sets_no_control_register: System => WrongRole, GRANTED;
        a_device_makes_no_vcpu: Initial => WrongRole, GRANTED;
        a_device_offers_no_interrupt: Offer => WrongRole, GRANTED;
        guest_memory_is_not_written_without_the_grant: GuestWrite => NotGranted, GRANTED;
        guest_memory_is_not_swapped_without_the_grant: GuestCas => NotGranted, GRANTED;
        guest_memory_is_not_copied_to_without_the_grant: GuestCopy => NotGranted, GRANTED;
        a_device_maps_nothing: Map => WrongRole, GRANTED;
        a_device_unmaps_nothing: Unmap => WrongRole, GRANTED;
        anothers_line_is_not_raised: AnothersLine => NotGranted, GRANTED;
        a_line_that_does_not_exist_is_not_raised: NoLine => NotGranted, GRANTED;
        a_timer_beyond_its_own_is_not_armed: AnothersTimer => NotGranted, GRANTED;
        a_timer_that_does_not_exist_is_not_disarmed: NoTimer => NotGranted, GRANTED;
        a_host_port_is_not_written_without_the_grant: PortOut => NotGranted, GRANTED;
        a_host_port_is_not_read_without_the_grant: PortIn => NotGranted, GRANTED;
        a_host_device_is_not_filled_without_the_grant: Fill => NotGranted, GRANTED;
        a_host_device_is_not_drained_without_the_grant: Drain => NotGranted, GRANTED;
        mail_needs_a_grant: AnothersMail => NotGranted, GRANTED;
        mail_to_nobody_is_not_granted: MailToNobody => NotGranted, GRANTED;
        a_mail_has_an_end: MailTooLong => BadValue, GRANTED;
        mail_beyond_its_credit_is_not_sent: MailBeyondCredit => Credit, GRANTED + 1;
        only_the_supervisor_sends_requests: Request => WrongRole, GRANTED;
        only_control_asks_for_records: Query => WrongRole, GRANTED;
        a_serial_port_does_not_stop_the_machine: Stop => WrongRole, GRANTED;
        lines_beyond_the_vault_are_not_saved: SaveBeyondVault => OutsideVault, GRANTED;
        lines_far_beyond_the_vault_are_not_saved: SaveFarBeyondVault => OutsideVault, GRANTED;
        to_save_no_lines_is_refused: SaveNothing => OutsideVault, GRANTED;
        only_the_supervisor_makes_servers: Create => WrongRole, GRANTED;
        only_the_supervisor_gives_rights: Grant => WrongRole, GRANTED;
        only_the_supervisor_gives_routes: Route => WrongRole, GRANTED;
        only_the_supervisor_fills_memory: Segment => WrongRole, GRANTED;
        only_the_supervisor_starts_servers: Start => WrongRole, GRANTED;
        only_the_supervisor_destroys_servers: Destroy => WrongRole, GRANTED;
        only_the_supervisor_makes_machines: CreateMachine => WrongRole, GRANTED;
        only_the_supervisor_has_guests_loaded: Load => WrongRole, GRANTED;
        only_the_supervisor_lets_the_guest_run: Run => WrongRole, GRANTED;
        only_the_supervisor_ends_the_host: Exit => WrongRole, GRANTED;
    }
}
