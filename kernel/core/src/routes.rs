//! Who gets which exit.

use atoll_protocol::grant::Route;
use atoll_protocol::units::ServerId;
use heapless::Vec;

use crate::ids::Set;

const RANGES: usize = 32;
/// Bits of a number within its stretch.
const STRETCH: u32 = 8;
/// Bits of an address within its page.
const PAGE_BITS: u32 = 12;
/// No page is at hand.
const NO_PAGE: (u64, ServerId) = (u64::MAX, ServerId::SUPERVISOR);

/// The ranges of one kind of number, each with its server.
struct Ranges {
    ranges: Vec<(u64, u64, ServerId), RANGES>,
    /// The stretches of 256 numbers that a range touches, by the low bits of their number: what is not in here needs no search.
    touched: u64,
}

impl Ranges {
    const EMPTY: Ranges = Ranges {
        ranges: Vec::new(),
        touched: 0,
    };

    #[inline(always)]
    fn find(&self, at: u64) -> Option<ServerId> {
        if self.touched & 1 << (at >> STRETCH & 63) == 0 {
            return None;
        }
        let mut ranges = self.ranges.iter();
        ranges
            .find(|(first, last, _)| *first <= at && at <= *last)
            .map(|(_, _, server)| *server)
    }

    fn overlaps(&self, first: u64, last: u64) -> bool {
        self.ranges
            .iter()
            .any(|range| first <= range.1 && range.0 <= last)
    }

    /// Whether a range begins or ends within a page that `first` and `last` bound, so that not all of it need be one server's.
    fn divides(&self, first: u64, last: u64) -> bool {
        let inside = |at: u64| first < at && at <= last;
        self.ranges
            .iter()
            .any(|range| inside(range.0) || inside(range.1.wrapping_add(1)))
    }

    fn add(&mut self, first: u64, last: u64, server: ServerId) {
        if self.ranges.push((first, last, server)).is_ok() {
            let (first, last) = (first >> STRETCH, last >> STRETCH);
            (first..=last)
                .take(64)
                .for_each(|stretch| self.touched |= 1 << (stretch & 63));
        }
    }

    fn remove(&mut self, server: ServerId) {
        let mut kept = Ranges::EMPTY;
        for (first, last, owner) in self.ranges.iter().filter(|range| range.2 != server) {
            kept.add(*first, *last, *owner);
        }
        *self = kept;
    }
}

/// All routes of the machine. A route once given belongs to the role; it cannot be given twice.
pub struct Routes {
    ports: [Option<ServerId>; 0x1_0000],
    /// Servers that have ports: to take them away is to look at all.
    with_ports: Set<ServerId>,
    msrs: Ranges,
    memory: Ranges,
    /// A page of device memory, and whose it is.
    recent: (u64, ServerId),
    /// CPUID.
    pub(crate) cpuid: Option<ServerId>,
    /// VMMCALL.
    pub(crate) hypercall: Option<ServerId>,
    /// MSRs without a range.
    pub(crate) other_msrs: Option<ServerId>,
    /// Nested faults, string I/O, instructions.
    pub(crate) mmu: Option<ServerId>,
    /// Interrupt lines.
    pub(crate) lines: Option<ServerId>,
}

impl Routes {
    /// No routes.
    pub const NONE: Routes = Routes {
        ports: [None; 0x1_0000],
        with_ports: Set::EMPTY,
        msrs: Ranges::EMPTY,
        memory: Ranges::EMPTY,
        recent: NO_PAGE,
        cpuid: None,
        hypercall: None,
        other_msrs: None,
        mmu: None,
        lines: None,
    };

    /// Whose port this is.
    #[inline(always)]
    pub(crate) fn port(&self, port: u16) -> Option<ServerId> {
        self.ports.get(usize::from(port)).copied().flatten()
    }

    /// Whose MSR this is.
    #[inline(always)]
    pub(crate) fn msr(&self, index: u32) -> Option<ServerId> {
        self.msrs.find(u64::from(index)).or(self.other_msrs)
    }

    /// Whose device memory this is. The page that was asked for last is at hand.
    #[inline(always)]
    pub(crate) fn memory(&mut self, gpa: u64) -> Option<ServerId> {
        let (page, server) = self.recent;
        if gpa >> PAGE_BITS == page {
            Some(server)
        } else {
            self.find_memory(gpa)
        }
    }

    #[inline(never)]
    fn find_memory(&mut self, gpa: u64) -> Option<ServerId> {
        let server = self.memory.find(gpa)?;
        let first = gpa >> PAGE_BITS << PAGE_BITS;
        let last = first + ((1 << PAGE_BITS) - 1);
        let whole =
            self.memory.find(first) == Some(server) && self.memory.find(last) == Some(server);
        if whole && !self.memory.divides(first, last) {
            self.recent = (gpa >> PAGE_BITS, server);
        }
        Some(server)
    }

    /// Whether the route is well formed and nobody's yet, and fits after `more` others.
    pub(crate) fn is_free(&self, route: Route, more: usize) -> bool {
        match route {
            Route::Cpuid => self.cpuid.is_none(),
            Route::Hypercall => self.hypercall.is_none(),
            Route::OtherMsrs => self.other_msrs.is_none(),
            Route::Mmu => self.mmu.is_none(),
            Route::Lines => self.lines.is_none(),
            Route::Msrs(first, last) => {
                first <= last
                    && self.msrs.ranges.len() + more < RANGES
                    && !self.msrs.overlaps(u64::from(first), u64::from(last))
            }
            Route::Memory(first, last) => {
                first <= last
                    && self.memory.ranges.len() + more < RANGES
                    && !self.memory.overlaps(first, last)
            }
            Route::Ports(first, last) => {
                first <= last && (first..=last).all(|port| self.port(port).is_none())
            }
        }
    }

    /// Gives a route that is free.
    pub(crate) fn add(&mut self, route: Route, server: ServerId) {
        match route {
            Route::Cpuid => self.cpuid = Some(server),
            Route::Hypercall => self.hypercall = Some(server),
            Route::OtherMsrs => self.other_msrs = Some(server),
            Route::Mmu => self.mmu = Some(server),
            Route::Lines => self.lines = Some(server),
            Route::Msrs(first, last) => self.msrs.add(u64::from(first), u64::from(last), server),
            Route::Memory(first, last) => self.memory.add(first, last, server),
            Route::Ports(first, last) => {
                self.with_ports.insert(server);
                let range = usize::from(first)..=usize::from(last);
                self.ports
                    .get_mut(range)
                    .into_iter()
                    .flatten()
                    .for_each(|port| *port = Some(server));
            }
        }
    }

    /// Takes all of a server's routes away.
    pub(crate) fn remove(&mut self, server: ServerId) {
        if self.with_ports.contains(server) {
            self.ports
                .iter_mut()
                .filter(|port| **port == Some(server))
                .for_each(|port| *port = None);
            self.with_ports.remove(server);
        }
        self.msrs.remove(server);
        self.memory.remove(server);
        self.recent = NO_PAGE;
        for route in [
            &mut self.cpuid,
            &mut self.hypercall,
            &mut self.other_msrs,
            &mut self.mmu,
            &mut self.lines,
        ] {
            if *route == Some(server) {
                *route = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_given_once() {
        let mut routes = std::boxed::Box::new(Routes::NONE);
        assert!(routes.is_free(Route::Ports(0x3f8, 0x3ff), 0));
        routes.add(Route::Ports(0x3f8, 0x3ff), ServerId::nth(4));
        assert!(!routes.is_free(Route::Ports(0x3ff, 0x3ff), 0));
        assert_eq!(routes.port(0x3ff), Some(ServerId::nth(4)));
        assert_eq!(routes.port(0x400), None);
        routes.add(Route::Memory(0xfee0_0000, 0xfee0_0fff), ServerId::nth(5));
        assert!(!routes.is_free(Route::Memory(0xfee0_0fff, 0xffff_ffff), 0));
        routes.remove(ServerId::nth(4));
        assert_eq!(routes.port(0x3ff), None);
        assert_eq!(routes.memory(0xfee0_00b0), Some(ServerId::nth(5)));
    }
}
