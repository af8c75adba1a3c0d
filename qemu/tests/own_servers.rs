//! A server of one's own for each role is put into a running Linux, restarted there and swapped away, while Linux counts: no count is lost,
//! doubled or late, and Linux complains of nothing.
#![forbid(unsafe_code)]

use running::Running;

mod made;
mod own;
#[path = "own/residue.rs"]
mod residue;
mod running;

/// Roles, the server and image that have them in the machine, and what `new-server` is told beside role and name.
const ROLES: [(&str, &str, &str, &[&str]); 10] = [
    ("irqchip", "irqchip", "irqchip", &[]),
    ("timer", "pit", "pit", &[]),
    ("clock", "rtc", "rtc", &[]),
    ("power", "pm", "pm", &[]),
    ("mmu", "mmu", "mmu-npt", &[]),
    ("mmu", "mmu", "mmu-npt", &["--around", "mmu-npt"]),
    ("serial", "uart", "uart", &[]),
    ("console", "console", "console", &[]),
    ("control", "control", "control", &[]),
    ("msr", "msr", "msr", &[]),
];
/// Lacks registers that the guest was shown: it has to be forced.
const FORCED: &str = "msr";

/// What the guest does until it is ended. It looks at PM timer and real-time clock, touches new memory, sleeps, and counts.
const WORKLOAD: &str =
    "echo acpi_pm > /sys/devices/system/clocksource/clocksource0/current_clocksource
n=0
while true; do
    hwclock -r > /dev/null || echo no clock
    head -c 1000000 /dev/urandom | md5sum > /dev/null
    echo count $n
    n=$((n + 1))
    sleep 0.1
done";

/// Waits until the guest has counted three times from now on.
fn goes_on(machine: &Running, when: &str) {
    let before = machine.console().len();
    machine.wait_until(when, || {
        machine.console()[before..].matches("count ").count() >= 3
    });
}

#[test]
fn a_server_of_each_role_is_put_into_a_running_linux_restarted_there_and_swapped_away() {
    let made = ROLES.map(|(role, .., arguments)| own::make(role, arguments));
    let machine = Running::start("own", &["--exec", WORKLOAD]);
    machine.wait_until("it answers", || machine.ask(&["ping"]).status.success());
    goes_on(&machine, "at first");
    for ((role, server, image, _), made) in ROLES.iter().zip(&made) {
        let restarts = machine.restarts(server);
        let mut swap = vec!["swap", role, made.dir.to_str().unwrap()];
        if *role == FORCED {
            let refused = machine.error(&swap);
            assert!(
                refused.contains("the guest relies on all that it has been shown, and the successor does not have that; --force"),
                "{role}: {refused}"
            );
            swap.push("--force");
        }
        machine.text(&swap);
        goes_on(&machine, role);
        assert_eq!(
            (machine.image(server), machine.restarts(server)),
            (format!("my-{role}"), restarts),
            "a swap is no restart"
        );
        machine.text(&["kill", role]);
        goes_on(&machine, role);
        assert_eq!(
            (machine.image(server), machine.restarts(server)),
            (format!("my-{role}"), restarts + 1)
        );
        machine.text(&["swap", role, image, "--force"]);
        goes_on(&machine, role);
        assert_eq!(machine.image(server), *image);
    }
    let log = machine.text(&["log"]);
    assert!(
        ["irqchip", "uart"]
            .iter()
            .all(|server| log.contains(&format!("{server}: 4 requests and "))),
        "{log}"
    );
    let console = machine.console();
    let lines: Vec<&str> = console.lines().collect();
    let expected: Vec<String> = (0..lines.len())
        .map(|count| format!("count {count}"))
        .collect();
    assert_eq!(lines[..lines.len() - 1], expected[..lines.len() - 1]);
}
