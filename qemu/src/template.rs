//! Crates with a server of one's own, made from the files in qemu/templates: what all have in common, and server and tests for each role.
//! How an image is linked is as for Atoll's own servers.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const MANIFEST: &str = include_str!("../templates/Cargo.toml.in");
const WORKSPACE: &str = include_str!("../templates/workspace.toml.in");
const MAIN: &str = include_str!("../templates/main.rs.in");
const README: &str = include_str!("../templates/README.md.in");
const BUILD: &str = include_str!("../../servers/images/build.rs");
const LINK: &str = include_str!("../../servers/images/image.ld");
const FLAGS: &str = include_str!("../../.cargo/config.toml");

/// Server and tests of a role.
#[derive(Clone, Copy, Debug)]
struct Template {
    role: &'static str,
    server: &'static str,
    tests: &'static str,
}

macro_rules! template {
    ($role:literal, $dir:literal) => {
        Template {
            role: $role,
            server: include_str!(concat!("../templates/", $dir, "/lib.rs")),
            tests: include_str!(concat!("../templates/", $dir, "/tests.rs")),
        }
    };
}

const TEMPLATES: [Template; 7] = [
    template!("cpuid", "cpuid"),
    template!("msr", "msr"),
    template!("mmu", "mmu"),
    template!("irqchip", "irqchip"),
    template!("serial", "serial"),
    template!("timer", "timer"),
    template!("clock", "timer"),
];

/// The roles for which there is a template.
pub fn roles() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|template| template.role)
}

/// Makes a crate called `name` for `role` in `dir`, which must not be there or be empty; where it is.
pub fn make(workspace: &Path, role: &str, name: &str, dir: &Path) -> Result<PathBuf> {
    let template = TEMPLATES.iter().find(|template| template.role == role).ok_or_else(|| Error::Usage {
        what: format!("there is no template for the role '{role}' (there are: {})", roles().collect::<Vec<_>>().join(", ")),
    })?;
    if !is_a_name(name) {
        let what = format!("'{name}' is no name for a crate: use at most 40 small letters, digits and '-', a letter first");
        return Err(Error::Usage { what });
    }
    fs::create_dir_all(dir.join("src")).map_err(Error::file(dir))?;
    let dir = dir.canonicalize().map_err(Error::file(dir))?;
    let found = fs::read_dir(&dir).map_err(Error::file(&dir))?.count();
    if found > 1 || fs::read_dir(dir.join("src")).map_err(Error::file(&dir))?.count() > 0 {
        return Err(Error::Usage { what: format!("{}: there is something already", dir.display()) });
    }
    let among_atolls = dir.parent() == Some(&workspace.join("servers"));
    let sdk = if among_atolls { "../sdk".to_owned() } else { workspace.join("servers/sdk").display().to_string() };
    let fill = |text: &str| {
        let text = text.replace("{{name}}", name).replace("{{crate}}", &name.replace('-', "_")).replace("{{role}}", role);
        text.replace("{{sdk}}", &sdk).replace("{{directory}}", &dir.display().to_string())
    };
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text)).map_err(Error::file(&path))
    };
    let server =
        if role == "clock" { template.server.replace("Timer as MyRole", "Clock as MyRole") } else { template.server.to_owned() };
    write("src/lib.rs", &server)?;
    write("src/tests.rs", template.tests)?;
    write("src/main.rs", &fill(MAIN))?;
    write("README.md", &fill(README))?;
    write("build.rs", BUILD)?;
    write("image.ld", LINK)?;
    write(".gitignore", "/target\n")?;
    if among_atolls {
        write("Cargo.toml", &fill(MANIFEST))?;
    } else {
        write("Cargo.toml", &(fill(MANIFEST) + WORKSPACE))?;
        write(".cargo/config.toml", FLAGS)?;
        // The versions that Atoll was built with are here already.
        let lock = fs::read_to_string(workspace.join("Cargo.lock")).map_err(Error::file("Cargo.lock"))?;
        write("Cargo.lock", &lock)?;
    }
    Ok(dir)
}

fn is_a_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 40 && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> PathBuf {
        crate::place::workspace().unwrap()
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let dir = tempfile::tempdir().unwrap();
        for role in roles() {
            let made = make(&workspace(), role, "my-server", &dir.path().join(role)).unwrap();
            for file in ["Cargo.toml", "README.md", "src/lib.rs", "src/main.rs", "src/tests.rs"] {
                let text = fs::read_to_string(made.join(file)).unwrap();
                assert!(!text.contains("{{") && !text.contains(".in\""), "{role}: {file}: {text}");
            }
        }
    }

    #[test]
    fn what_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(&workspace(), "cpuid", "mine", &dir.path().join("mine")).unwrap();
        fs::write(made.join("src/lib.rs"), "mine").unwrap();
        let error = make(&workspace(), "cpuid", "mine", &made).unwrap_err().to_string();
        assert!(error.contains("there is something already"), "{error}");
        assert_eq!(fs::read_to_string(made.join("src/lib.rs")).unwrap(), "mine");
    }

    #[test]
    fn a_role_without_a_template_is_told_with_those_that_have_one_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let error = make(&workspace(), "loader", "mine", &dir.path().join("mine")).unwrap_err().to_string();
        assert!(error.contains("'loader'") && error.contains("cpuid, msr"), "{error}");
        assert!(make(&workspace(), "cpuid", "../mine", &dir.path().join("mine")).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
