//! Unsafe code is in the kernel, in the SDK and its programs, and in the server that misbehaves; every other crate forbids it.

use syn::Meta;

use crate::Error;
use crate::findings::Findings;
use crate::workspace::{UNSAFE, Workspace};

/// Looks for the attribute in every root.
pub(crate) fn check(workspace: &Workspace, findings: &mut Findings) -> Result<(), Error> {
    let mut roots = 0;
    let packages = workspace
        .packages
        .iter()
        .filter(|package| !UNSAFE.contains(&package.name.as_str()));
    for path in packages.flat_map(|package| package.roots()) {
        let failed = |why: String| Error::File {
            path: path.to_owned(),
            why,
        };
        let source = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let syntax = syn::parse_file(&source).map_err(|error| failed(error.to_string()))?;
        if syntax
            .attrs
            .iter()
            .any(|attribute| forbids(&attribute.meta))
        {
            roots += 1;
        } else {
            findings.problem(format_args!(
                "{}: no `#![forbid(unsafe_code)]`",
                workspace.relative(path).display()
            ));
        }
    }
    findings.figure(format_args!("crates that forbid unsafe code: {roots}"));
    Ok(())
}

fn forbids(meta: &Meta) -> bool {
    let Meta::List(list) = meta else { return false };
    list.path.is_ident("forbid")
        && list
            .parse_args::<syn::Ident>()
            .is_ok_and(|lint| lint == "unsafe_code")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(source: &str) -> bool {
        syn::parse_file(source)
            .unwrap()
            .attrs
            .iter()
            .any(|attribute| forbids(&attribute.meta))
    }

    #[test]
    fn only_forbid_is_enough() {
        assert!(attribute("#![forbid(unsafe_code)]"));
        assert!(!attribute("#![deny(unsafe_code)]"));
        assert!(!attribute("#![forbid(missing_docs)]"));
        assert!(!attribute("// #![forbid(unsafe_code)]"));
    }
}
