//! An id names something that is there: it is validated where it is made, so that looking something up by one cannot miss. Where it can, the
//! miss must be somebody's decision. Returning without a word, as if nothing had been asked, is none, and neither is to take another one's
//! place by wrapping the id around.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Arm, Block, Expr, ExprIf, ExprMatch, FnArg, ImplItem, Item, Local, Pat, Signature, Stmt,
    TraitItem,
};

use crate::findings::Findings;
use crate::modules::{Code, Crates, File, Part};
use crate::workspace::Workspace;

/// The ids. A `TicketId` is none: it carries a generation, and late ones are dropped by design.
const IDS: [&str; 6] = ["ServerId", "VmId", "VcpuId", "CoreId", "TimerId", "LineId"];
/// How many there are of what has an id: dividing by one wraps an id around.
const COUNTS: [&str; 6] = ["SERVERS", "VMS", "VCPUS", "CORES", "TIMERS", "LINES"];
/// Most silent misses, by package; none in all others. These only shrink.
const SILENT: [(&str, usize); 1] = [("atoll-core", 7)];
/// Most wraps, by package; none in all others. These only shrink.
const WRAPS: [(&str, usize); 0] = [];

/// Counts in the kernel's packages; names each place if that is asked for.
pub(crate) fn check(workspace: &Workspace, kernel: &[Crates], findings: &mut Findings) {
    for crates in kernel {
        let files: Vec<&File> = crates.files().collect();
        let mut hold = |what: &str, places: &[(usize, usize)], bars: &[(&str, usize)]| {
            for (file, line) in places {
                let file = workspace.relative(&files[*file].path).display();
                findings.place(format_args!("  {file}:{line}: {what}"));
            }
            findings.at_most(
                &format!("{}: {what}", crates.package),
                places.len(),
                crates.bar(bars).unwrap_or(0),
            );
        };
        hold(
            "silent misses of a look-up by an id",
            &silent(&files),
            &SILENT,
        );
        hold("ids that are wrapped around", &wraps(&files), &WRAPS);
    }
}

fn built<'f>(files: &[&'f File]) -> Vec<(usize, &'f Part)> {
    let of = |(place, file): (usize, &&'f File)| file.built().map(move |part| (place, part));
    files.iter().enumerate().flat_map(of).collect()
}

/// Where a look-up by an id may miss and nobody hears of it: files and lines.
fn silent(files: &[&File]) -> Vec<(usize, usize)> {
    let parts = built(files);
    // Functions that look something up by an id and may find nothing.
    let mut lookups = BTreeSet::new();
    for (_, part) in &parts {
        for signature in signatures(&part.code) {
            if signature.inputs.iter().any(|input| id(input).is_some()) && may_miss(signature) {
                lookups.insert(signature.ident.to_string());
            }
        }
    }
    let mut found = Vec::new();
    for (place, part) in parts {
        let mut misses = Misses {
            lookups: &lookups,
            ids: Vec::new(),
            lines: Vec::new(),
        };
        match &part.code {
            Code::Item(item) => misses.visit_item(item),
            Code::Member(item) => misses.visit_impl_item(item),
            Code::Attribute(_) => {}
        }
        found.extend(misses.lines.into_iter().map(|line| (place, line)));
    }
    found
}

fn signatures(code: &Code) -> Vec<&Signature> {
    match code {
        Code::Item(Item::Fn(item)) => vec![&item.sig],
        Code::Item(Item::Trait(item)) => {
            let functions = item.items.iter().filter_map(|item| match item {
                TraitItem::Fn(item) => Some(&item.sig),
                _ => None,
            });
            functions.collect()
        }
        Code::Member(item) => match &**item {
            ImplItem::Fn(item) => vec![&item.sig],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The name of an argument that is an id.
fn id(input: &FnArg) -> Option<String> {
    let FnArg::Typed(input) = input else {
        return None;
    };
    let Pat::Ident(name) = &*input.pat else {
        return None;
    };
    names_id(input.ty.to_token_stream()).then(|| name.ident.to_string())
}

fn names_id(tokens: TokenStream) -> bool {
    let mut tokens = tokens.into_iter();
    tokens.any(|token| matches!(token, TokenTree::Ident(name) if IDS.iter().any(|id| name == id)))
}

fn may_miss(signature: &Signature) -> bool {
    let returned = signature.output.to_token_stream().into_iter();
    returned
        .into_iter()
        .any(|token| matches!(token, TokenTree::Ident(name) if name == "Option"))
}

/// A walk over code that notes silent misses.
struct Misses<'l> {
    lookups: &'l BTreeSet<String>,
    /// Names of ids in the functions around.
    ids: Vec<String>,
    lines: Vec<usize>,
}

impl Misses<'_> {
    /// Whether something is looked up by an id here, other than in a block or closure of its own.
    fn looks_up(&self, expression: &Expr) -> bool {
        struct Calls<'m> {
            misses: &'m Misses<'m>,
            found: bool,
        }
        impl<'a> Visit<'a> for Calls<'_> {
            fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
                let arguments = call.args.to_token_stream();
                self.found |= self.misses.lookups.contains(&call.method.to_string())
                    || (call.method == "get" || call.method == "get_mut")
                        && self.misses.names_one(arguments);
                visit::visit_expr_method_call(self, call);
            }
            fn visit_expr_call(&mut self, call: &'a syn::ExprCall) {
                if let Expr::Path(path) = &*call.func
                    && let Some(last) = path.path.segments.last()
                {
                    self.found |= self.misses.lookups.contains(&last.ident.to_string());
                }
                visit::visit_expr_call(self, call);
            }
            fn visit_block(&mut self, _: &'a Block) {}
            fn visit_expr_closure(&mut self, _: &'a syn::ExprClosure) {}
        }
        let mut calls = Calls {
            misses: self,
            found: false,
        };
        calls.visit_expr(expression);
        calls.found
    }

    /// Whether one of the ids around is named in these tokens.
    fn names_one(&self, tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(name) => self.ids.iter().any(|id| name == id),
            TokenTree::Group(group) => self.names_one(group.stream()),
            _ => false,
        })
    }

    fn within(&mut self, signature: &Signature, walk: impl FnOnce(&mut Self)) {
        let before = self.ids.len();
        self.ids.extend(signature.inputs.iter().filter_map(id));
        walk(self);
        self.ids.truncate(before);
    }
}

impl<'a> Visit<'a> for Misses<'_> {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.within(&item.sig, |all| visit::visit_item_fn(all, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.within(&item.sig, |all| visit::visit_impl_item_fn(all, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        self.within(&item.sig, |all| visit::visit_trait_item_fn(all, item));
    }

    /// `let .. = look_up(id) else { return };`
    fn visit_local(&mut self, local: &'a Local) {
        if let Some(init) = &local.init
            && let Some((_, otherwise)) = &init.diverge
            && says_nothing(otherwise)
            && self.looks_up(&init.expr)
        {
            self.lines.push(local.span().start().line);
        }
        visit::visit_local(self, local);
    }

    /// `if let .. = look_up(id) { .. }`, with more conditions or without, and no `else`.
    fn visit_expr_if(&mut self, expression: &'a ExprIf) {
        if expression.else_branch.is_none()
            && conditions(&expression.cond)
                .iter()
                .any(|looked_at| self.looks_up(looked_at))
        {
            self.lines.push(expression.span().start().line);
        }
        visit::visit_expr_if(self, expression);
    }

    /// `match look_up(id) { Some(..) => .., None => {} }`
    fn visit_expr_match(&mut self, expression: &'a ExprMatch) {
        let is_silent = |arm: &Arm| {
            let is_miss = match &arm.pat {
                Pat::Ident(name) => name.ident == "None",
                Pat::Path(path) => path.path.is_ident("None"),
                Pat::Wild(_) => true,
                _ => false,
            };
            is_miss && is_nothing(&arm.body)
        };
        if expression.arms.iter().any(is_silent) && self.looks_up(&expression.expr) {
            self.lines.push(expression.span().start().line);
        }
        visit::visit_expr_match(self, expression);
    }
}

/// What the `let`s of a condition look at.
fn conditions(condition: &Expr) -> Vec<&Expr> {
    match condition {
        Expr::Let(one) => vec![&one.expr],
        Expr::Binary(both) => {
            let mut all = conditions(&both.left);
            all.extend(conditions(&both.right));
            all
        }
        _ => Vec::new(),
    }
}

/// Whether this is a block that only returns, nothing or a plain value. `None` and an error are words: the caller must do something about them.
fn says_nothing(otherwise: &Expr) -> bool {
    let Expr::Block(block) = otherwise else {
        return false;
    };
    let [Stmt::Expr(only, _)] = &block.block.stmts[..] else {
        return false;
    };
    goes(only)
}

fn goes(expression: &Expr) -> bool {
    match expression {
        Expr::Continue(_) => true,
        Expr::Return(returned) => returned.expr.as_deref().is_none_or(is_plain),
        _ => false,
    }
}

/// Whether an arm does nothing, or only returns.
fn is_nothing(body: &Expr) -> bool {
    match body {
        Expr::Block(block) if block.block.stmts.is_empty() => true,
        Expr::Tuple(tuple) => tuple.elems.is_empty(),
        body => goes(body) || says_nothing(body),
    }
}

fn is_plain(value: &Expr) -> bool {
    match value {
        Expr::Lit(_) => true,
        Expr::Path(path) => !path.path.is_ident("None"),
        Expr::Tuple(tuple) => tuple.elems.iter().all(is_plain),
        // `Ticks(u64::MAX)`, but neither `Err(..)` nor a function that does something about it.
        Expr::Call(call) => {
            let name = call.func.to_token_stream().to_string();
            let last = name.rsplit("::").next().unwrap_or_default().trim();
            last != "Err" && last.starts_with(char::is_uppercase) && call.args.iter().all(is_plain)
        }
        _ => false,
    }
}

/// Where something is divided by the number of what has an id: files and lines.
fn wraps(files: &[&File]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (place, part) in built(files) {
        wraps_in(part.tokens(), &mut |line| found.push((place, line)));
    }
    found
}

fn wraps_in(tokens: TokenStream, note: &mut impl FnMut(usize)) {
    let mut is_behind = false;
    for token in tokens {
        is_behind = match token {
            TokenTree::Punct(punct) => punct.as_char() == '%',
            TokenTree::Ident(name) => {
                if is_behind && COUNTS.iter().any(|count| name == count) {
                    note(name.span().start().line);
                }
                false
            }
            TokenTree::Group(group) => {
                wraps_in(group.stream(), note);
                false
            }
            TokenTree::Literal(_) => false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sample;

    const LOOKUP: &str = "impl S {\n    fn server(&self, id: ServerId) -> Option<&Server> { self.servers.get(id.0) }\n}\n";

    /// The lines of `body`, from 1, on which something is missed silently.
    fn missed(body: &str) -> Vec<usize> {
        let source = format!(
            "{LOOKUP}impl S {{ fn f(&mut self, to: ServerId, ticket: TicketId) {{\n{body}\n}} }}\n"
        );
        let files = sample(&[("lib.rs", &source)]);
        silent(&files.iter().collect::<Vec<_>>())
            .into_iter()
            .map(|(_, line)| line - 4)
            .collect()
    }

    #[test]
    fn returning_without_a_word_when_an_id_names_nothing_is_found() {
        assert_eq!(
            missed("let Some(s) = self.server(to) else { return };"),
            [1]
        );
        assert_eq!(
            missed(
                "let Some(s) = self.servers.get_mut(usize::from(to.0)) else {\n    return Step::Faulted;\n};"
            ),
            [1]
        );
        assert_eq!(
            missed(
                "a();\nlet Some(s) = self.server(ServerId(1)).map(|s| s.b) else { return Ticks(u64::MAX) };"
            ),
            [2]
        );
        assert_eq!(
            missed("for id in all() {\n    let Some(s) = self.server(id) else { continue };\n}"),
            [2]
        );
    }

    #[test]
    fn doing_nothing_when_an_id_names_nothing_is_the_same() {
        assert_eq!(missed("if let Some(s) = self.server(to) { s.f() }"), [1]);
        assert_eq!(
            missed("if let Some(s) = self.server(to)\n    && s.waits() { s.f() }"),
            [1]
        );
        for body in [
            "match self.server(to) { Some(s) => s.f(), None => {} }",
            "match self.server(to) { Some(s) => s.f(), _ => () }",
            "match self.server(to) { None => return, Some(s) => s.f() }",
        ] {
            assert_eq!(missed(body), [1], "{body}");
        }
    }

    #[test]
    fn a_decision_is_not_silent() {
        for body in [
            "let Some(s) = self.server(to) else { return Err(Fault::NoServer) };",
            "let Some(s) = self.server(to) else { return None };",
            "let Some(s) = self.server(to) else { return self.nobody_answers() };",
            "let Some(s) = self.server(to) else { self.log(to); return };",
            "if let Some(s) = self.server(to) { s.f() } else { self.report(to) }",
            "match self.server(to) { Some(s) => s.f(), None => self.report(to) }",
            "match self.kind { None => {}, Some(kind) => kind.f() }",
        ] {
            assert_eq!(missed(body), [0; 0], "{body}");
        }
    }

    #[test]
    fn what_is_no_id_may_be_missed() {
        for body in [
            "let Some(t) = self.tickets.get(ticket) else { return };",
            "let Some(mmu) = self.routes.mmu else { return };",
            "let Some(first) = letters.first() else { return };",
        ] {
            assert_eq!(missed(body), [0; 0], "{body}");
        }
    }

    #[test]
    fn an_id_that_is_wrapped_around_is_found_and_no_other_remainder() {
        let source = "fn f(id: ServerId, line: usize) {\n    a[usize::from(id.0) % SERVERS];\n    b[line % LINES_PER_PAGE];\n    m!(c % VCPUS);\n}\n";
        let files = sample(&[("lib.rs", source)]);
        let files: Vec<_> = files.iter().collect();
        assert_eq!(wraps(&files), [(0, 2), (0, 4)]);
    }
}
