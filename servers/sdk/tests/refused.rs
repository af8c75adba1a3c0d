//! What cannot be written: each file in `refused/` is a program that the compiler must refuse, for the reason beside it.
#![forbid(unsafe_code)]

#[test]
fn what_a_role_does_not_allow_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/refused/*.rs");
}
