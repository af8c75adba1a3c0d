//! Crates with a server of one's own, made from the files in qemu/templates: what all have in common, and server and tests, which stand
//! alone or are around a server of Atoll's. How an image is linked is as for Atoll's own servers.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

mod choice;

pub use choice::{Wanted, roles};

const MANIFEST: &str = include_str!("../templates/Cargo.toml.in");
const WORKSPACE: &str = include_str!("../templates/workspace.toml.in");
const MAIN: &str = include_str!("../templates/main.rs.in");
const README: &str = include_str!("../templates/README.md.in");
const BUILD: &str = include_str!("../../servers/images/build.rs");
const LINK: &str = include_str!("../../servers/images/image.ld");
const FLAGS: &str = include_str!("../../.cargo/config.toml");

/// Makes the crate in `dir`, which must not be there or be empty; where it is.
pub fn make(workspace: &Path, wanted: &Wanted<'_>, dir: &Path) -> Result<PathBuf> {
    let source = wanted.choose()?.source();
    let Wanted { role, name, .. } = *wanted;
    fs::create_dir_all(dir.join("src")).map_err(Error::file(dir))?;
    let dir = dir.canonicalize().map_err(Error::file(dir))?;
    let found = fs::read_dir(&dir).map_err(Error::file(&dir))?.count();
    if found > 1
        || fs::read_dir(dir.join("src"))
            .map_err(Error::file(&dir))?
            .count()
            > 0
    {
        return Err(Error::Usage {
            what: format!("{}: there is something already", dir.display()),
        });
    }
    let among_atolls = dir.parent() == Some(&workspace.join("servers"));
    let servers = if among_atolls {
        "..".to_owned()
    } else {
        workspace.join("servers").display().to_string()
    };
    let fill = |text: &str| {
        let text = text
            .replace("{{name}}", name)
            .replace("{{crate}}", &name.replace('-', "_"))
            .replace("{{role}}", role);
        text.replace("{{servers}}", &servers)
            .replace("{{directory}}", &dir.display().to_string())
    };
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, text))
            .map_err(Error::file(&path))
    };
    let manifest = MANIFEST.replace("{{dependencies}}", &source.dependencies);
    let manifest = manifest.replace("{{dev-dependencies}}", source.dev_dependencies);
    write("src/lib.rs", &source.server)?;
    write("src/tests.rs", &source.tests)?;
    write("src/main.rs", &fill(MAIN))?;
    write("README.md", &fill(README))?;
    write("build.rs", BUILD)?;
    write("image.ld", LINK)?;
    write(".gitignore", "/target\n")?;
    if among_atolls {
        write("Cargo.toml", &fill(&manifest))?;
    } else {
        write("Cargo.toml", &(fill(&manifest) + WORKSPACE))?;
        // What the crate's tests need is built once for all such crates.
        let shared = toml::Value::from(
            workspace
                .join("target/own-tests")
                .to_string_lossy()
                .into_owned(),
        );
        write(
            ".cargo/config.toml",
            &format!("{FLAGS}\n[build]\ntarget-dir = {shared}\n"),
        )?;
        // The versions that Atoll was built with are here already.
        let lock =
            fs::read_to_string(workspace.join("Cargo.lock")).map_err(Error::file("Cargo.lock"))?;
        write("Cargo.lock", &lock)?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::choice::OWN;
    use super::*;

    fn workspace() -> PathBuf {
        crate::place::workspace().unwrap()
    }

    fn wanted<'w>(role: &'w str, around: Option<&'w str>) -> Wanted<'w> {
        Wanted {
            role,
            name: "my-server",
            around,
        }
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let dir = tempfile::tempdir().unwrap();
        let alone = roles().map(|role| (role, None));
        for (role, around) in alone.chain(OWN.iter().map(|own| (own.role, Some(own.image)))) {
            let to = dir.path().join(role).join(around.unwrap_or("usual"));
            let made = make(&workspace(), &wanted(role, around), &to).unwrap();
            for file in [
                "Cargo.toml",
                "README.md",
                "src/lib.rs",
                "src/main.rs",
                "src/tests.rs",
            ] {
                let text = fs::read_to_string(made.join(file)).unwrap();
                assert!(
                    !text.contains("{{") && !text.contains(".in\""),
                    "{role}: {file}: {text}"
                );
            }
        }
    }

    #[test]
    fn every_image_whose_state_can_move_can_be_what_a_crate_is_around() {
        let bins = fs::read_dir(workspace().join("servers/images/src/bin")).unwrap();
        for path in bins.map(|entry| entry.unwrap().path()) {
            let image = path.file_stem().unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let server = text
                .split("image!(")
                .nth(1)
                .and_then(|rest| rest.split(')').next())
                .unwrap();
            let own = OWN
                .iter()
                .find(|own| own.image == image)
                .map(|own| own.server);
            assert_eq!(
                own,
                Some(server).filter(|_| !["loader", "supervisor"].contains(&image)),
                "{image}"
            );
        }
    }

    #[test]
    fn crates_outside_the_clone_build_what_their_tests_need_once_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let settings = ["cpuid", "msr"].map(|role| {
            let to = dir.path().join(role);
            let made = make(&workspace(), &wanted(role, None), &to).unwrap();
            let text = fs::read_to_string(made.join(".cargo/config.toml")).unwrap();
            text.parse::<toml::Table>().unwrap()
        });
        let [one, other] = settings.map(|settings| settings["build"]["target-dir"].clone());
        assert_eq!(one, other);
        assert!(Path::new(one.as_str().unwrap()).is_absolute());
    }

    #[test]
    fn what_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(
            &workspace(),
            &wanted("cpuid", None),
            &dir.path().join("mine"),
        )
        .unwrap();
        fs::write(made.join("src/lib.rs"), "mine").unwrap();
        let error = make(&workspace(), &wanted("cpuid", None), &made)
            .unwrap_err()
            .to_string();
        assert!(error.contains("there is something already"), "{error}");
        assert_eq!(fs::read_to_string(made.join("src/lib.rs")).unwrap(), "mine");
    }

    #[test]
    fn what_cannot_be_made_is_told_with_what_can_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let error = |wanted: Wanted<'_>| {
            make(&workspace(), &wanted, &dir.path().join("mine"))
                .unwrap_err()
                .to_string()
        };
        let said = error(wanted("loader", None));
        assert!(
            said.contains("'loader'") && said.contains("cpuid, msr"),
            "{said}"
        );
        let said = error(wanted("serial", Some("pit")));
        assert!(
            said.contains("no server 'pit' of the role 'serial' (it has: uart, uart-ring)"),
            "{said}"
        );
        error(Wanted {
            name: "../mine",
            ..wanted("cpuid", None)
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
