//! Native code on disk: reused, private, never believed when it was tampered with.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rewarden_runtime::{Digest, PluginSpec, Runtime, RuntimeConfig};
use tempfile::TempDir;

use crate::component::{file, reward, sample, wait};

/// Loads a component in a runtime of its own and has it score; this is what must work whatever the cache holds.
#[track_caller]
fn load_and_score(plugin: &Path, cache: &Path) {
    let runtime = Runtime::new(RuntimeConfig { jobs: 1, cache_dir: Some(cache.to_owned()) }).expect("a runtime");
    let plugin = wait(runtime.load(&PluginSpec::path(plugin))).expect("loads");
    let scores = wait(plugin.reward().expect("a reward").score_batch(vec![sample()]));
    assert_eq!(scores[0].as_ref().expect("a score").value, Some(1.0));
}

/// The cached files of native code, oldest name first.
fn cached(cache: &Path) -> Vec<PathBuf> {
    with_extension(cache, "cwasm")
}

fn with_extension(cache: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).expect("the folder exists").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}

fn folders() -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let plugin = file(&dir, &reward(""));
    let cache = dir.path().join("cache");
    (dir, plugin, cache)
}

#[test]
fn the_second_load_reads_what_the_first_wrote() {
    let (_dir, plugin, cache) = folders();
    load_and_score(&plugin, &cache);
    let files = cached(&cache);
    assert_eq!(files.len(), 1);
    // A file that is written again is another file under the same name.
    let inode = || fs::metadata(&files[0]).expect("a file").ino();
    let written = inode();
    load_and_score(&plugin, &cache);
    assert_eq!(inode(), written);
}

#[test]
fn a_tampered_file_is_compiled_anew_and_replaced() {
    let (_dir, plugin, cache) = folders();
    load_and_score(&plugin, &cache);
    let path = cached(&cache).remove(0);
    let good = fs::read(&path).expect("readable");
    let flipped = |place: usize| {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        bytes
    };
    let forgeries = [vec![], good[..good.len() / 2].to_vec(), good[32..].to_vec(), flipped(0), flipped(good.len() - 1)];
    for forged in forgeries {
        fs::write(&path, &forged).expect("writable");
        load_and_score(&plugin, &cache);
        assert_ne!(fs::read(&path).expect("readable"), forged, "replaced");
    }
}

#[test]
fn one_plugins_code_is_not_anothers() {
    let (dir, plugin, cache) = folders();
    load_and_score(&plugin, &cache);
    let first = cached(&cache).remove(0);
    let other = dir.path().join("other.wasm");
    fs::write(&other, reward("(global i32 (i32.const 7))")).expect("writable");
    load_and_score(&other, &cache);
    let second = cached(&cache).into_iter().find(|path| *path != first).expect("a second file");
    // Genuine, signed code under the wrong name.
    let moved = fs::read(&first).expect("readable");
    fs::write(&second, &moved).expect("writable");
    load_and_score(&other, &cache);
    assert_ne!(fs::read(&second).expect("readable"), moved);
}

#[test]
fn a_lost_or_damaged_key_costs_a_compilation() {
    let (_dir, plugin, cache) = folders();
    load_and_score(&plugin, &cache);
    fs::write(cache.join("key"), b"short").expect("writable");
    load_and_score(&plugin, &cache);
    assert_eq!(fs::metadata(cache.join("key")).expect("a key").len(), 32);
    fs::remove_file(cache.join("key")).expect("removable");
    load_and_score(&plugin, &cache);
}

#[test]
fn a_folder_that_cannot_be_made_is_no_reason_to_fail() {
    let (dir, plugin, _) = folders();
    let in_the_way = dir.path().join("file");
    fs::write(&in_the_way, "").expect("writable");
    load_and_score(&plugin, &in_the_way.join("cache"));
}

#[cfg(unix)]
#[test]
fn the_folder_and_its_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, plugin, cache) = folders();
    let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    load_and_score(&plugin, &cache);
    assert_eq!((mode(&cache), mode(&cache.join("key")), mode(&cached(&cache)[0])), (0o700, 0o600, 0o600));
    // Where others may write, nothing is believed and nothing is written.
    fs::remove_file(&cached(&cache)[0]).expect("removable");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("ours");
    load_and_score(&plugin, &cache);
    assert!(cached(&cache).is_empty());
}

/// A file that was found good is taken for itself, unread; one that was written since is another.
#[test]
fn a_file_is_recognised_until_it_changes() {
    let (_dir, plugin, cache) = folders();
    load_and_score(&plugin, &cache);
    let known = || {
        fs::read_dir(&cache).expect("a folder").filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "known"))
        })
    };
    assert_eq!(known().count(), 1);
    load_and_score(&plugin, &cache);
    assert_eq!(known().count(), 1);
    let other = reward("(global i32 (i32.const 7))");
    fs::write(&plugin, &other).expect("writable");
    let runtime = Runtime::new(RuntimeConfig { jobs: 1, cache_dir: Some(cache.clone()) }).expect("a runtime");
    assert_eq!(wait(runtime.load(&PluginSpec::path(&plugin))).expect("loads").digest(), Digest::of(&other));
    // What is written there by others is not believed.
    for entry in known() {
        let path = entry.expect("an entry").path();
        let mut bytes = fs::read(&path).expect("readable");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).expect("writable");
    }
    assert_eq!(wait(runtime.load(&PluginSpec::path(&plugin))).expect("loads").digest(), Digest::of(&other));
    // Native code that was deleted is compiled again from the file.
    cached(&cache).iter().for_each(|file| fs::remove_file(file).expect("deleted"));
    drop(runtime);
    load_and_score(&plugin, &cache);
}

/// Large components leave their functions too, and are right with those of an earlier version, or of nobody.
#[test]
fn an_edited_component_is_itself() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cache = dir.path().join("cache");
    let pad = |version: &str| format!(r#"(@custom "pad" "{version}{}")"#, "x".repeat(600 << 10));
    let load = |version: &str| load_and_score(&file(&dir, &reward(&pad(version))), &cache);
    load("one");
    let functions = with_extension(&cache, "functions");
    assert_eq!(functions.len(), 1);
    let mode = fs::metadata(&functions[0]).expect("a file").mode();
    assert_eq!(mode & 0o777, 0o600);
    load("two");
    assert_eq!(with_extension(&cache, "functions"), functions, "one file per path");
    fs::write(&functions[0], "forged").expect("writable");
    load("three");
    assert!(fs::metadata(&functions[0]).expect("a file").len() > 1000, "written anew");
    assert_eq!(cached(&cache).len(), 3);
    // Small ones leave none.
    let small = tempfile::tempdir().expect("a temporary folder");
    load_and_score(&file(&small, &reward("")), &cache);
    assert_eq!(with_extension(&cache, "functions").len(), 1);
}
