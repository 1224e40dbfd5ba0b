//! `signing.key`: the generated secrets that tokens are signed with.
//!
//! Guarantees: readable by its owner only; replaced as a whole or not at all; the newest key is the
//! last. Writers hold the write lock of `users.db`, so two processes never write at once.
//! It is not where keys are used: see [`crate::keys`].

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use tidings_core::{identity::Secret, own_file};

use crate::{error::AuthError, random};

const VERSION: u32 = 1;

/// The file.
#[derive(Debug, Deserialize)]
pub(crate) struct KeyFile {
    version: u32,
    pub(crate) keys: Vec<StoredKey>,
}

/// A generated secret.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredKey {
    /// What its tokens name it.
    pub(crate) kid: String,
    secret: Secret,
    /// When it was made, in milliseconds since 1970.
    pub(crate) created: i64,
    /// Until when its tokens verify; none for the one that signs.
    pub(crate) verify_until: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenKey<'a> {
    kid: &'a str,
    secret: &'a str,
    created: i64,
    verify_until: Option<i64>,
}

impl StoredKey {
    pub(crate) fn generate(now: i64) -> Self {
        let secret = Secret(random::text::<32>());
        Self { kid: random::id::<9>(), secret, created: now, verify_until: None }
    }

    /// The secret's bytes.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, AuthError> {
        URL_SAFE_NO_PAD
            .decode(&self.secret.0)
            .ok()
            .filter(|bytes| bytes.len() >= 32)
            .ok_or_else(|| AuthError::key("signing.key", "a secret in it is not 32 bytes of base64url"))
    }
}

impl KeyFile {
    pub(crate) fn of(key: StoredKey) -> Self {
        Self { version: VERSION, keys: vec![key] }
    }

    /// Reads the file; none if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, AuthError> {
        let fail = |error| AuthError::io(path, error);
        let mut file = match own_file::open(path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fail)?;
        close_to_others(&file).map_err(fail)?;
        let file: Self = serde_json::from_str(&text).map_err(|error| {
            let place = format!("it is damaged, at line {} column {}", error.line(), error.column());
            AuthError::key("signing.key", place)
        })?;
        if file.version != VERSION || file.keys.is_empty() {
            return Err(AuthError::key("signing.key", "it has another version, or no key"));
        }
        Ok(Some(file))
    }

    /// Writes the file beside its place, then moves it there.
    pub(crate) fn write(&self, path: &Path) -> Result<(), AuthError> {
        let fail = |error| AuthError::io(path, error);
        let keys: Vec<WrittenKey<'_>> = self
            .keys
            .iter()
            .map(|key| WrittenKey {
                kid: &key.kid,
                secret: &key.secret.0,
                created: key.created,
                verify_until: key.verify_until,
            })
            .collect();
        let text = serde_json::json!({ "version": self.version, "keys": keys }).to_string();
        let beside = path.with_extension("key.new");
        // What a killed writer left; a link goes as such.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(fail)?;
        file.set_permissions(Permissions::from_mode(0o600)).map_err(fail)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
        fs::rename(&beside, path).map_err(fail)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail)
    }
}

fn close_to_others(file: &File) -> io::Result<()> {
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!("signing.key could be read by others; it is closed to them now, and should be rotated");
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_not_followed_and_what_they_lead_to_keeps_its_text_and_its_mode() {
        let dir = tempfile::tempdir().expect("a directory");
        let (victim, path) = (dir.path().join("victim"), dir.path().join("signing.key"));
        fs::write(&victim, "precious").expect("writes");
        fs::set_permissions(&victim, Permissions::from_mode(0o644)).expect("opened to others");
        symlink(&victim, &path).expect("made");
        let error = KeyFile::read(&path).expect_err("refused").to_string();
        assert!(error.contains("signing.key") && error.contains("symbolic link"), "{error}");
        fs::remove_file(&path).expect("removed");
        symlink(&victim, dir.path().join("signing.key.new")).expect("made");
        KeyFile::of(StoredKey::generate(0)).write(&path).expect("writes");
        assert_eq!(KeyFile::read(&path).expect("reads").map(|file| file.keys.len()), Some(1));
        let left = fs::metadata(&victim).expect("there");
        assert_eq!((left.permissions().mode() & 0o777, left.len()), (0o644, 8));
        assert!(!dir.path().join("signing.key.new").is_symlink());
    }
}
