//! Each mistake in a manifest is told in one line, with the line of the file on which it stands.
#![forbid(unsafe_code)]

use atoll_manifest::{LINUX, Machine};
use atoll_protocol::manifest::Then;

/// The error for the machine that boots Linux with `from` replaced by `to`, which must be told for the line that `to` begins on.
fn error_of(from: &str, to: &str) -> String {
    let at = LINUX
        .find(from)
        .unwrap_or_else(|| panic!("the manifest has no '{from}'"));
    let text = format!("{}{to}{}", &LINUX[..at], &LINUX[at + from.len()..]);
    let marked = to.find('→').map_or(at, |mark| at + mark);
    let line = 1 + text[..marked].matches('\n').count();
    let error = Machine::parse("m.toml", &text.replace('→', ""))
        .expect_err("a wrong manifest was accepted")
        .to_string();
    let (place, what) = error.split_once(": ").expect("an error without a place");
    assert_eq!(place, format!("m.toml:{line}"), "{error}");
    assert!(!what.contains('\n'), "more than one line: {error}");
    what.to_owned()
}

#[test]
fn the_machine_that_boots_linux_is_right() {
    let machine = Machine::linux().unwrap();
    assert_eq!(
        (machine.memory, machine.vcpus, machine.servers.len()),
        (256 << 20, 1, 12)
    );
}

#[test]
fn an_unknown_field_is_refused() {
    let what = error_of("role = \"msr\"", "rolle = \"msr\"");
    assert!(what.contains("unknown field `rolle`"), "{what}");
}

#[test]
fn a_missing_field_is_refused_at_the_table_that_lacks_it() {
    let error = Machine::parse("m.toml", "manifest = 1\n\n[vm]\nvcpus = 1\n[server]\n")
        .unwrap_err()
        .to_string();
    assert_eq!(error, "m.toml:3: missing field `memory`");
}

#[test]
fn what_is_no_toml_is_refused() {
    let error = Machine::parse("m.toml", "manifest = 1\n[vm\n")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("m.toml:2: "), "{error}");
}

#[test]
fn a_reserve_that_is_no_size_or_too_large_is_refused() {
    for text in ["much", "65M", "1T"] {
        let what = error_of(
            "vcpus = 1\n",
            &format!("vcpus = 1\n→reserve = \"{text}\"\n"),
        );
        assert_eq!(
            what,
            format!("reserve = \"{text}\": expected a size of at most 64M, for example \"2M\"")
        );
    }
}

/// The machine that boots Linux, with what follows the restarts of its cpuid server.
fn then(text: &str) -> String {
    LINUX.replace(
        "image = \"cpuid\"\n",
        &format!("image = \"cpuid\"\nrestart = {{ then = {text} }}\n"),
    )
}

#[test]
fn what_follows_the_restarts_is_quarantine_a_stop_or_an_image() {
    let machine = Machine::parse("m.toml", &then("{ image = \"cpuid-strict\" }")).unwrap();
    let (alternative, _) = machine.servers[0].alternative.as_ref().unwrap();
    assert_eq!(
        (alternative.as_str(), machine.servers[0].restart.then),
        ("cpuid-strict", Then::Quarantine)
    );
    for wrong in [
        "\"pray\"",
        "{ picture = \"cpuid\" }",
        "{ image = 5 }",
        "{ image = \"cpuid\", then = \"stop\" }",
        "3",
    ] {
        let error = Machine::parse("m.toml", &then(wrong))
            .unwrap_err()
            .to_string();
        let right = ": expected \"quarantine\", \"stop\" or { image = \"NAME\" }";
        assert!(
            error.starts_with("m.toml:12: then = ")
                && error.ends_with(right)
                && !error.contains('\n'),
            "{error}"
        );
    }
    let what = error_of(
        "role = \"loader\"\n",
        "role = \"loader\"\n→restart = { then = { image = \"loader\" } }\n",
    );
    assert!(what.contains("no image can take its place"), "{what}");
}

#[test]
fn an_alternative_that_does_not_exist_is_refused_at_its_line() {
    let machine = Machine::parse("m.toml", &then("{ image = \"nobody\" }")).unwrap();
    let known: Vec<String> = machine
        .servers
        .iter()
        .map(|server| server.image.clone())
        .chain(machine.spares.iter().map(|(image, _)| image.clone()))
        .collect();
    let error = machine.check_images(&known).unwrap_err().to_string();
    assert!(
        error.starts_with("m.toml:12: unknown image 'nobody' (there are: "),
        "{error}"
    );
}

#[test]
fn another_form_of_manifest_is_refused() {
    assert!(error_of("manifest = 1", "manifest = 2").starts_with("manifest = 2: expected 1"));
}

#[test]
fn a_port_of_two_servers_is_refused() {
    let what = error_of("ports = [\"0x70..=0x71\"]", "ports = [\"0x43..=0x44\"]");
    assert_eq!(
        what,
        "duplicate port: 0x40..=0x43 already belongs to server 'pit'"
    );
}

#[test]
fn a_port_listed_twice_in_one_server_is_refused() {
    assert!(
        error_of(
            "ports = [\"0x70..=0x71\"]",
            "ports = [\n  \"0x70..=0x71\",\n→  \"0x71\"]"
        )
        .starts_with("duplicate port")
    );
}

#[test]
fn an_address_of_two_servers_is_refused() {
    let what = error_of("\"0xfee00000..=0xfee00fff\"", "\"0xfec00800..=0xfec00fff\"");
    assert!(
        what.starts_with("duplicate address: 0xfec00000..=0xfec00fff"),
        "{what}"
    );
}

#[test]
fn device_memory_in_guest_ram_is_refused() {
    assert!(
        error_of("\"0xfee00000..=0xfee00fff\"", "\"0x100000..=0x100fff\"")
            .contains("lies in the guest's RAM")
    );
}

#[test]
fn an_msr_of_two_servers_is_refused() {
    let what = error_of("\"0x6e0\"", "\"0x6e0\", \"0x600..=0x6ff\"");
    assert_eq!(
        what,
        "duplicate MSR: 0x6e0 already belongs to server 'irqchip'"
    );
}

#[test]
fn a_line_of_two_servers_is_refused() {
    assert_eq!(
        error_of("raises = [8]", "raises = [0]"),
        "duplicate interrupt line: 0x0 already belongs to server 'pit'"
    );
}

#[test]
fn a_line_that_does_not_exist_is_refused() {
    assert!(error_of("raises = [8]", "raises = [24]").contains("expected 0 to 23"));
}

#[test]
fn mail_to_an_unknown_server_is_refused() {
    assert_eq!(
        error_of("mail = { console = 16 }", "mail = { printer = 16 }"),
        "unknown server 'printer' (there are: console, control, cpuid, hypercall, irqchip, loader, mmu, msr, pit, pm, rtc, supervisor, uart)"
    );
}

#[test]
fn mail_without_credit_is_refused() {
    assert!(error_of("mail = { console = 16 }", "mail = { console = 0 }").contains("credit of 0"));
}

#[test]
fn an_unknown_role_is_refused() {
    let what = error_of("role = \"clock\"", "role = \"sundial\"");
    assert!(
        what.starts_with("unknown role 'sundial' (there are: loader, cpuid,"),
        "{what}"
    );
}

#[test]
fn a_second_server_of_a_role_that_is_unique_is_refused() {
    let what = error_of("role = \"clock\"", "role = \"cpuid\"");
    assert_eq!(
        what,
        "duplicate role: server 'cpuid' already has it, and a machine has one cpuid"
    );
}

#[test]
fn a_route_that_a_role_may_not_have_is_refused() {
    let what = error_of("exits = [\"cpuid\"]", "exits = [\"mmu\"]");
    assert_eq!(
        what,
        "server 'cpuid': a server of the role 'cpuid' may not have the route exits = \"mmu\""
    );
    assert!(
        error_of("exits = [\"cpuid\"]", "ports = [\"0x80\"]")
            .contains("role 'cpuid' may not have a route for ports")
    );
}

#[test]
fn a_grant_that_a_role_may_not_have_is_refused() {
    assert!(
        error_of("exits = [\"cpuid\"]", "guest_memory = \"write\"")
            .contains("may not have guest_memory")
    );
    assert!(error_of("exits = [\"cpuid\"]", "bundle = true").contains("may not have the bundle"));
    assert!(
        error_of("raises = [8]", "host_ports = [\"0x3f0\"]")
            .contains("may not have a grant of host ports")
    );
}

#[test]
fn memory_that_is_too_little_or_odd_or_no_size_is_refused() {
    assert!(error_of("\"256M\"", "\"16M\"").contains("at least 32M"));
    assert!(error_of("\"256M\"", "\"255M\"").contains("multiple of 2M"));
    assert!(
        error_of("\"256M\"", "\"much\"")
            .contains("is not a size: expected a multiple of 2M, for example")
    );
}

#[test]
fn more_vcpus_than_the_kernel_runs_are_refused() {
    assert!(error_of("vcpus = 1", "vcpus = 2").starts_with("vcpus = 2: expected 1"));
}

#[test]
fn the_supervisor_is_not_written_down() {
    assert!(
        error_of("[server.hypercall]", "[server.supervisor]")
            .contains("every machine has a supervisor")
    );
}

#[test]
fn limits_out_of_range_are_refused() {
    assert!(error_of("timers = 4", "timers = 5").contains("at most 4"));
    assert!(
        error_of("budget = \"2s\"", "budget = \"soon\"")
            .contains("is not a duration: expected one like")
    );
    assert!(error_of("budget = \"2s\"", "stack = \"1M\"").contains("at most 256K"));
    assert!(error_of("budget = \"2s\"", "vault = \"100\"").contains("multiple of 64"));
}

#[test]
fn an_image_that_does_not_exist_is_refused() {
    let machine = Machine::parse(
        "m.toml",
        &LINUX.replace("image = \"rtc\"", "image = \"sundial\""),
    )
    .unwrap();
    let mut known: Vec<String> = Machine::linux()
        .unwrap()
        .servers
        .into_iter()
        .map(|server| server.image)
        .collect();
    known.sort();
    let error = machine.check_images(&known).unwrap_err().to_string();
    assert!(
        error.starts_with("m.toml:") && error.contains("unknown image 'sundial'"),
        "{error}"
    );
}

#[test]
fn a_machine_without_a_loader_is_refused() {
    let text = LINUX
        .replace("role = \"loader\"", "role = \"timer\"")
        .replace("bundle = true\n", "")
        .replace("guest_memory = \"write\"\n", "");
    let text = text
        .lines()
        .filter(|line| !line.starts_with("guest_memory"))
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        Machine::parse("m.toml", &text)
            .unwrap_err()
            .to_string()
            .contains("no server has the role 'loader'")
    );
}
