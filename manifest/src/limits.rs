//! What a server may use, and what follows when it fails.

use atoll_protocol::grant::Limits;
use atoll_protocol::manifest::{Restart, Then};
use atoll_protocol::role::RoleKind;
use atoll_protocol::{LINE, PAGE, TIMERS, layout};
use toml::Spanned;

use crate::Named;
use crate::error::Result;
use crate::ranges::{bytes, microseconds};
use crate::rights::Right;
use crate::source::Source;
use crate::text::ServerText;

/// A vault that holds any device's registers.
const VAULT: u64 = 4 << 10;
/// A stack for handlers that do not recurse.
const STACK: u64 = 32 << 10;
/// Longest activation, in microseconds: far above what any handler needs, so that only a hang meets it.
pub(super) const BUDGET: u64 = 50_000;
/// A server may use all of a period, unless its manifest says otherwise.
const PERIOD: u64 = 100_000;
/// How often a server is restarted over one message.
const ATTEMPTS: u8 = 3;
/// How often a server is restarted in a minute.
const PER_MINUTE: u8 = 30;

pub(super) fn limits(source: &Source<'_>, role: RoleKind, text: &ServerText) -> Result<Limits> {
    let size =
        |text: &Option<Spanned<String>>, default: u64, unit: u64, most: u64| -> Result<u16> {
            let Some(text) = text else {
                return Ok(whole(default / unit));
            };
            match bytes(text.get_ref()) {
                Some(size) if size % unit == 0 && (unit..=most).contains(&size) => {
                    Ok(whole(size / unit))
                }
                _ => {
                    let what = format!(
                        "\"{}\": expected a multiple of {unit} bytes, at most {}K",
                        text.get_ref(),
                        most >> 10
                    );
                    Err(source.error(text.span(), what))
                }
            }
        };
    let time = |text: &Option<Spanned<String>>, default: u64| -> Result<u32> {
        let Some(text) = text else {
            return Ok(default.try_into().unwrap_or(u32::MAX));
        };
        let wrong = || {
            source.error(
                text.span(),
                format!(
                    "\"{}\" is not a duration: expected one like \"200us\" or \"5ms\"",
                    text.get_ref()
                ),
            )
        };
        microseconds(text.get_ref())
            .filter(|time| *time > 0)
            .and_then(|time| u32::try_from(time).ok())
            .ok_or_else(wrong)
    };
    let (default_timers, most) = (
        u8::from(Right::Timers.fits(role)),
        if Right::Timers.fits(role) { TIMERS } else { 0 },
    );
    let timers = text
        .timers
        .as_ref()
        .map_or(default_timers, |timers| *timers.get_ref());
    if let Some(text) = text.timers.as_ref().filter(|_| usize::from(timers) > most) {
        return Err(source.error(
            text.span(),
            format!(
                "timers = {timers}: a server of the role '{}' may have at most {most}",
                role.name()
            ),
        ));
    }
    Ok(Limits {
        vault_lines: size(&text.vault, VAULT, LINE as u64, layout::VAULT_MAX)?,
        stack_pages: size(
            &text.stack,
            STACK,
            PAGE as u64,
            layout::STACK_MAX_PAGES * PAGE as u64,
        )?,
        budget_us: time(&text.budget, BUDGET)?,
        period_us: time(&text.period, PERIOD)?,
        timers,
    })
}

/// Every server is restarted, unless its manifest says otherwise. A guest can live without most of its devices, but not without its memory
/// or its interrupts. An alternative image is tried before that.
pub(super) fn restart(
    source: &Source<'_>,
    role: RoleKind,
    text: &ServerText,
) -> Result<(Restart, Option<Named>)> {
    let vital = matches!(role, RoleKind::Mmu | RoleKind::Irqchip | RoleKind::Loader);
    let default = Restart {
        attempts: ATTEMPTS,
        per_minute: PER_MINUTE,
        then: if vital { Then::Stop } else { Then::Quarantine },
    };
    let Some(text) = &text.restart else {
        return Ok((default, None));
    };
    let per_minute = text
        .per_minute
        .as_ref()
        .map_or(PER_MINUTE, |often| *often.get_ref());
    if let Some(text) = text
        .per_minute
        .as_ref()
        .filter(|often| *often.get_ref() == 0)
    {
        return Err(source.error(
            text.span(),
            "per_minute = 0: expected at least 1; attempts = 0 is for a server that is never restarted",
        ));
    }
    let restart = |then| Restart {
        attempts: text.attempts.unwrap_or(ATTEMPTS),
        per_minute,
        then,
    };
    let Some(then) = &text.then else {
        return Ok((restart(default.then), None));
    };
    let error = |what: String| Err(source.error(then.span(), what));
    match then.get_ref() {
        toml::Value::String(word) if word == "quarantine" && vital => error(format!(
            "then = \"quarantine\": a guest cannot run without its {}; expected \"stop\" or {{ image = \"NAME\" }}",
            role.name()
        )),
        toml::Value::String(word) if word == "quarantine" => Ok((restart(Then::Quarantine), None)),
        toml::Value::String(word) if word == "stop" => Ok((restart(Then::Stop), None)),
        toml::Value::Table(table)
            if table.len() == 1 && table.get("image").is_some_and(toml::Value::is_str) =>
        {
            let image = table
                .get("image")
                .and_then(toml::Value::as_str)
                .unwrap_or_default()
                .to_owned();
            if role == RoleKind::Loader {
                return error(
                    "the loader has gone once the guest runs, so that no image can take its place"
                        .into(),
                );
            }
            let at = (source.file.to_owned(), source.line(then.span().start));
            Ok((restart(default.then), Some((image, at))))
        }
        other => error(format!(
            "then = {}: expected \"quarantine\", \"stop\" or {{ image = \"NAME\" }}",
            one_line(other)
        )),
    }
}

fn one_line(value: &toml::Value) -> String {
    value.to_string().replace('\n', " ")
}

fn whole(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
