//! Touching memory. The error code says why it was refused (AMD APM vol. 2 §8.4.2): bit 0 the page is there, 1 a write, 2 from ring 3,
//! 4 an instruction fetch.

use atoll_protocol::fault::Reason;
use atoll_protocol::layout::{ANSWER, BUNDLE, GUEST, IMAGE, MESSAGE, VAULT};
use atoll_rogue::memory::{ANOTHERS_VAULT, DIRECT_MAP, KERNEL, STACK};

const fn page_fault(error: u32, address: u64) -> Reason {
    Reason::Exception {
        vector: 14,
        error,
        address,
    }
}

/// Nothing is mapped there.
const ABSENT: u32 = 4;
/// It is mapped, but not for this.
const FORBIDDEN: u32 = 4 | 1;
const WRITE: u32 = 2;
const FETCH: u32 = 0x10;

crate::rogue_tests! {
    Memory {
        the_kernels_image_cannot_be_read: ReadKernel => page_fault(FORBIDDEN, KERNEL), 0;
        the_kernels_image_cannot_be_written: WriteKernel => page_fault(FORBIDDEN | WRITE, KERNEL), 0;
        the_kernels_code_cannot_be_run: ExecuteKernel => page_fault(FORBIDDEN | FETCH, KERNEL), 0;
        committed_state_cannot_be_read: ReadCommittedState => page_fault(FORBIDDEN, DIRECT_MAP), 0;
        committed_state_cannot_be_written: WriteCommittedState => page_fault(FORBIDDEN | WRITE, DIRECT_MAP), 0;
        anothers_vault_cannot_be_read: ReadAnothersVault => page_fault(ABSENT, ANOTHERS_VAULT), 0;
        anothers_vault_cannot_be_written: WriteAnothersVault => page_fault(ABSENT | WRITE, ANOTHERS_VAULT), 0;
        guest_memory_cannot_be_read_without_the_grant: ReadGuest => page_fault(ABSENT, GUEST), 0;
        guest_memory_cannot_be_written: WriteGuest => page_fault(ABSENT | WRITE, GUEST), 0;
        the_bundle_cannot_be_read_without_the_grant: ReadBundle => page_fault(ABSENT, BUNDLE), 0;
        its_message_cannot_be_written: WriteMessage => page_fault(FORBIDDEN | WRITE, MESSAGE), 0;
        the_page_between_message_and_answer_cannot_be_read: ReadGuardPage => page_fault(ABSENT, MESSAGE + 0x1000), 0;
        address_0_cannot_be_read: ReadNull => page_fault(ABSENT, 0), 0;
        an_address_that_is_none_cannot_be_read: ReadNonCanonical => Reason::Exception { vector: 13, error: 0, address: 0 }, 0;
        its_text_cannot_be_written: WriteText => page_fault(FORBIDDEN | WRITE, IMAGE), 0;
        its_vault_cannot_be_run: ExecuteVault => page_fault(FORBIDDEN | FETCH, VAULT), 0;
        its_stack_cannot_be_run: ExecuteStack => page_fault(FORBIDDEN | FETCH, STACK), 0;
        its_answer_cannot_be_run: ExecuteAnswer => page_fault(FORBIDDEN | FETCH, ANSWER), 0;
        its_message_cannot_be_run: ExecuteMessage => page_fault(FORBIDDEN | FETCH, MESSAGE), 0;
    }
}
