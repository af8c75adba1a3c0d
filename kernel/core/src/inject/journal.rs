//! What is told of injections, detections and recoveries: lines of the log that begin with `inject:`, for the host tool to read.
//!
//! Times are the host's time-stamp counter, so that differences are latencies in ticks (instructions, where one is one tick).

use atoll_protocol::fault::Reason;
use atoll_protocol::inject::kind_name;
use atoll_protocol::units::{ServerId, Ticks};

use super::Injector;
use crate::Kernel;
use crate::machine::Machine;

/// Messages of a restart itself: that one was handled is no recovery yet.
fn is_lifecycle(kind: u8) -> bool {
    matches!(
        kind_name(kind),
        Some("start" | "restarted" | "export" | "import")
    )
}

impl Injector {
    pub(super) fn tell_plan<M: Machine>(&self, machine: &mut M) {
        let (sequence, count, at) = (self.plan.sequence, self.plan.count, machine.now().0);
        machine.log(format_args!(
            "inject: plan sequence={sequence} count={count} at={at}"
        ));
    }

    pub(super) fn tell_injected<M: Machine>(
        &self,
        machine: &mut M,
        place: u8,
        to: ServerId,
        kind: u8,
        at: Ticks,
    ) {
        let nth = self.count(to, kind);
        machine.log(format_args!(
            "inject: injected entry={place} server={to} kind={kind} nth={nth} at={}",
            at.0
        ));
    }

    /// A server was faulted: by an injection, if its activation is under one. Then it is true.
    pub(crate) fn detected<M: Machine>(
        &mut self,
        machine: &mut M,
        id: ServerId,
        reason: Reason,
    ) -> bool {
        let at = machine.now();
        let subject = &mut self.subjects[id];
        if subject.active {
            (subject.retry, subject.active) = (subject.retry | subject.bit(), false);
        }
        subject.faulted = Some(at);
        let injected = subject.under.take().map_or(-1, i32::from);
        machine.log(format_args!(
            "inject: detected server={id} entry={injected} at={} reason={reason:?}",
            at.0
        ));
        injected >= 0
    }

    /// The last activation is over, and its answer was accepted if the server was not faulted for it.
    /// `exchanged` tells whether a server's last restart was as another's successor.
    pub(super) fn handled<M: Machine>(
        &mut self,
        machine: &mut M,
        exchanged: impl Fn(ServerId) -> bool,
    ) {
        let subjects = self.subjects.iter_mut();
        for (server, subject) in subjects.filter(|(_, subject)| subject.active) {
            (subject.active, subject.under) = (false, None);
            let ended = subject.ended.0;
            if kind_name(subject.current) == Some("export") {
                subject.held = true;
                machine.log(format_args!("inject: held server={server} at={ended}"));
            }
            if subject.held && kind_name(subject.current) == Some("restarted") {
                subject.held = false;
                let what = if exchanged(server) {
                    "exchanged"
                } else {
                    "rolled-back"
                };
                machine.log(format_args!("inject: {what} server={server} at={ended}"));
            }
            let redelivered = subject.is_redelivered();
            if subject.faulted.is_some() && is_lifecycle(subject.current) {
                machine.log(format_args!("inject: restarted server={server} at={ended}"));
                if !redelivered {
                    continue;
                }
            }
            subject.retry &= !subject.bit();
            if let Some(faulted) = subject.faulted.take() {
                let latency = ended.saturating_sub(faulted.0);
                machine.log(format_args!(
                    "inject: recovered server={server} at={ended} latency={latency}"
                ));
            }
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// Tells how many messages of each kind each server was sent, and the exits: what a sweep over all of them needs to know.
    pub fn tell_counts(&mut self) {
        self.settle_injected();
        let state = &mut self.state;
        for (server, subject) in state.inject.subjects.iter() {
            for (kind, count) in subject
                .counts
                .iter()
                .enumerate()
                .filter(|(_, count)| **count > 0)
            {
                state.machine.log(format_args!(
                    "inject: count server={server} kind={kind} count={count}"
                ));
            }
        }
        let (exits, at) = (state.statistics.exits, state.machine.now().0);
        state
            .machine
            .log(format_args!("inject: end exits={exits} at={at}"));
    }
}
