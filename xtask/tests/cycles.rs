//! The invariant `no-import-cycles` of ARCHITECTURE.md: in each crate, no source file needs itself through the files that it imports.
//!
//! A file imports another one if one of its paths names an item that the other file defines. Re-exports lead to the definition, and a
//! path that ends at a module is not an import, nor is a re-export. Code for tests is left out: `#[cfg(test)]`, `tests.rs`, `tests/` and
//! `testing/`.
//! The test does not see calls of methods, because it does not know types.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// The most cycles that a failure prints for a crate.
const SHOWN: usize = 15;

/// The index of a module in [`Sources::modules`].
type Id = usize;

/// An entry for a name in a module. A name can have several.
enum Name {
    Module(Id),
    /// An item that the module itself defines.
    Item,
    Import(Vec<String>),
}

#[derive(Default)]
struct Module {
    file: PathBuf,
    parent: Option<Id>,
    names: BTreeMap<String, Vec<Name>>,
    globs: Vec<Vec<String>>,
}

/// A path that a module names.
struct Mention {
    module: Id,
    line: usize,
    path: Vec<String>,
}

/// The modules of a library or program. The first one is its root.
#[derive(Default)]
struct Sources {
    modules: Vec<Module>,
    mentions: Vec<Mention>,
}

/// The destination of a path.
enum Target {
    Module(Id),
    File(PathBuf),
}

/// The imports of each file, with the line and the path of the first one.
type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, (usize, String)>>;

impl Sources {
    fn read(root: &Path) -> Self {
        let mut sources = Self::default();
        sources.add_file(root, root.parent().expect("a folder"), None);
        sources
    }

    /// Adds the module in `file`, whose submodules are files in `folder`.
    fn add_file(&mut self, file: &Path, folder: &Path, parent: Option<Id>) -> Id {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("cannot parse {}: {error}", file.display()));
        self.add_module(file, folder, parent, &parsed.items)
    }

    fn add_module(&mut self, file: &Path, folder: &Path, parent: Option<Id>, items: &[Item]) -> Id {
        let module = self.modules.len();
        self.modules.push(Module { file: file.to_owned(), parent, ..Module::default() });
        let mut reader = Reader { sources: self, module, folder: folder.to_owned() };
        for item in items {
            reader.visit_item(item);
        }
        module
    }

    fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for Mention { module, line, path } in &self.mentions {
            let from = &self.modules[*module].file;
            for target in self.resolve(*module, path, &mut HashSet::new()) {
                if let Target::File(to) = target
                    && to != *from
                {
                    let found = imports.entry(from.clone()).or_default().entry(to);
                    found.or_insert_with(|| (*line, path.join("::")));
                }
            }
        }
        imports
    }

    /// Resolves a path from a module. `seen` ends the search where imports lead back to themselves.
    fn resolve(&self, module: Id, path: &[String], seen: &mut HashSet<(Id, Vec<String>)>) -> Vec<Target> {
        let Some((name, rest)) = path.split_first() else { return vec![Target::Module(module)] };
        if !seen.insert((module, path.to_vec())) {
            return Vec::new();
        }
        match name.as_str() {
            "crate" => return self.resolve(0, rest, seen),
            "self" => return self.resolve(module, rest, seen),
            "super" => {
                let parent = self.modules[module].parent;
                return parent.map(|parent| self.resolve(parent, rest, seen)).unwrap_or_default();
            }
            _ => {}
        }
        let Module { file, names, globs, .. } = &self.modules[module];
        let mut found = Vec::new();
        for name in names.get(name).into_iter().flatten() {
            match name {
                Name::Module(child) => found.extend(self.resolve(*child, rest, seen)),
                Name::Item => found.push(Target::File(file.clone())),
                // The import is resolved without the rest first: with `use crate::log::log`, joining the paths would never end.
                Name::Import(path) => {
                    for target in self.resolve(module, path, seen) {
                        match target {
                            Target::Module(other) => found.extend(self.resolve(other, rest, seen)),
                            file @ Target::File(_) => found.push(file),
                        }
                    }
                }
            }
        }
        if !names.contains_key(name) {
            for glob in globs {
                for target in self.resolve(module, glob, seen) {
                    if let Target::Module(other) = target {
                        found.extend(self.resolve(other, path, seen));
                    }
                }
            }
        }
        found
    }
}

/// Collects the names that a module defines and the paths that it mentions. A `use` in a function counts as one of the module.
struct Reader<'a> {
    sources: &'a mut Sources,
    module: Id,
    folder: PathBuf,
}

impl Reader<'_> {
    fn define(&mut self, name: &syn::Ident, what: Name) {
        self.sources.modules[self.module].names.entry(name.to_string()).or_default().push(what);
    }

    fn mention(&mut self, line: usize, path: Vec<String>) {
        self.sources.mentions.push(Mention { module: self.module, line, path });
    }

    fn import(&mut self, prefix: &[String], tree: &UseTree) {
        let line = tree.span().start().line;
        let with = |name: &syn::Ident| {
            let name = name.to_string();
            if name == "self" && !prefix.is_empty() { prefix.to_vec() } else { [prefix, &[name]].concat() }
        };
        let (path, name) = match tree {
            UseTree::Path(path) => return self.import(&with(&path.ident), &path.tree),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(prefix, tree)),
            UseTree::Glob(_) => {
                self.sources.modules[self.module].globs.push(prefix.to_vec());
                return self.mention(line, prefix.to_vec());
            }
            UseTree::Name(name) => (with(&name.ident), &name.ident),
            UseTree::Rename(rename) => (with(&rename.ident), &rename.rename),
        };
        self.mention(line, path.clone());
        // `use a::{self}` names `a`.
        let name = if name == "self" { path.last().map(|last| syn::Ident::new(last, name.span())) } else { None }
            .unwrap_or_else(|| name.clone());
        // `use similar::similar` names an item of another crate, which cannot be followed.
        if name != path[0].as_str() {
            self.define(&name, Name::Import(path));
        }
    }

    /// Finds the paths in the tokens of a macro or an attribute.
    fn scan(&mut self, tokens: TokenStream) {
        let (mut path, mut colons, mut line) = (Vec::new(), 0, 0);
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 && !path.is_empty() {
                        self.mention(line, std::mem::take(&mut path));
                    }
                    (line, colons) = (ident.span().start().line, 0);
                    path.push(ident.to_string());
                }
                other => {
                    if !path.is_empty() {
                        self.mention(line, std::mem::take(&mut path));
                    }
                    if let TokenTree::Group(group) = other {
                        self.scan(group.stream());
                    } else if let TokenTree::Literal(literal) = other
                        && let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                        && let Ok(path) = text.parse::<syn::Path>()
                    {
                        // For example `#[serde(with = "crate::time")]`.
                        self.visit_path(&path);
                    }
                }
            }
        }
        if !path.is_empty() {
            self.mention(line, path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name): (&[Attribute], _) = match item {
            Item::Const(item) => (&item.attrs, Some(&item.ident)),
            Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            Item::Impl(item) => (&item.attrs, None),
            Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
            Item::Mod(item) => (&item.attrs, None),
            Item::Static(item) => (&item.attrs, Some(&item.ident)),
            Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            Item::Type(item) => (&item.attrs, Some(&item.ident)),
            Item::Use(item) => (&item.attrs, None),
            _ => (&[], None),
        };
        if !is_for_tests(attributes) {
            if let Some(name) = name {
                self.define(name, Name::Item);
            }
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let (name, module) = (item.ident.to_string(), self.module);
        let folder = self.folder.join(&name);
        let child = match &item.content {
            Some((_, items)) => {
                let file = self.sources.modules[module].file.clone();
                self.sources.add_module(&file, &folder, Some(module), items)
            }
            None if name == "tests" || name == "testing" => return,
            None => {
                let file = [folder.with_extension("rs"), folder.join("mod.rs")].into_iter().find(|file| file.exists());
                let file = file.unwrap_or_else(|| panic!("{} has no file", folder.display()));
                self.sources.add_file(&file, &folder, Some(module))
            }
        };
        self.define(&item.ident, Name::Module(child));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let before = self.sources.mentions.len();
        self.import(&[], &item.tree);
        if !matches!(item.vis, syn::Visibility::Inherited) {
            // A file that uses a re-exported name imports the file that defines the name. The file between them needs neither.
            self.sources.mentions.truncate(before);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.mention(path.span().start().line, segments);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.visit_path(&mac.path);
        self.scan(mac.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
        }
    }

    /// Ignores paths such as `pub(in crate::plan)`, which import nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            list.tokens.clone().into_iter().any(|token| token.to_string() == "test")
        }
        _ => false,
    })
}

/// Returns the shortest cycle through each import, without duplicates, the shortest first.
fn cycles(imports: &Imports) -> Vec<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    for (from, targets) in imports {
        for to in targets.keys() {
            if let Some(mut cycle) = way(imports, to, from) {
                let first = (0..cycle.len()).min_by_key(|at| &cycle[*at]).unwrap_or_default();
                cycle.rotate_left(first);
                found.insert((cycle.len(), cycle));
            }
        }
    }
    found.into_iter().map(|(_, cycle)| cycle).collect()
}

/// Returns the files on the shortest path from one file to another one, with both.
fn way(imports: &Imports, from: &Path, to: &Path) -> Option<Vec<PathBuf>> {
    let mut before: BTreeMap<&Path, &Path> = BTreeMap::new();
    let mut open = VecDeque::from([from]);
    while let Some(file) = open.pop_front() {
        if file == to {
            let back = std::iter::successors(Some(to), |file| before.get(file).copied());
            let mut way: Vec<PathBuf> = back.map(Path::to_owned).collect();
            way.reverse();
            return Some(way);
        }
        for next in imports.get(file).into_iter().flat_map(BTreeMap::keys) {
            if next != from && !before.contains_key(next.as_path()) {
                before.insert(next, file);
                open.push_back(next);
            }
        }
    }
    None
}

/// Describes the cycles, with the path that causes each import. Returns an empty text if there are none.
fn describe(imports: &Imports, root: &Path) -> String {
    let cycles = cycles(imports);
    let files: BTreeSet<&PathBuf> = cycles.iter().flatten().collect();
    let mut text = String::new();
    for cycle in cycles.iter().take(SHOWN) {
        for (at, file) in cycle.iter().enumerate() {
            let (line, path) = &imports[file][&cycle[(at + 1) % cycle.len()]];
            let file = file.strip_prefix(root).unwrap_or(file).display();
            text += &format!("  {file}:{line} ({path}) →");
        }
        text += " the first\n";
    }
    if text.is_empty() { text } else { format!("{} files are in import cycles:\n{text}", files.len()) }
}

#[test]
fn no_file_imports_itself_through_others() {
    // The variable is read at run time, so that a copy of this program can check another checkout.
    let crate_dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let root = Path::new(&crate_dir).parent().expect("a workspace");
    let mut checked = 0;
    let mut failures = String::new();
    let folders = fs::read_dir(root).expect("the workspace can be listed").map(|entry| entry.expect("an entry").path());
    // `fuzz/` is a workspace of its own.
    for folder in folders.filter(|folder| !folder.ends_with("fuzz")).collect::<BTreeSet<_>>() {
        for name in ["src/lib.rs", "src/main.rs"] {
            let file = folder.join(name);
            if !file.exists() {
                continue;
            }
            checked += 1;
            let cycles = describe(&Sources::read(&file).imports(), root);
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            if !cycles.is_empty() {
                failures += &format!("{name}: {cycles}");
            }
        }
    }
    assert!(checked > 10, "found only {checked} libraries and programs");
    assert!(
        failures.is_empty(),
        "files import each other; move what both need into a file that imports neither\n{failures}"
    );
}

/// Returns the imports in a crate of these files, as `a.rs -> b.rs`, and its cycles.
fn imports_of(files: &[(&str, &str)]) -> (Vec<String>, Vec<Vec<PathBuf>>) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let imports = Sources::read(&folder.path().join("lib.rs")).imports();
    let short = |path: &PathBuf| path.strip_prefix(folder.path()).expect("below").display().to_string();
    let edges = imports.iter().flat_map(|(from, to)| to.keys().map(move |to| (from, to)));
    (edges.map(|(from, to)| format!("{} -> {}", short(from), short(to))).collect(), cycles(&imports))
}

#[test]
fn a_module_declaration_is_not_an_import() {
    let (imports, cycles) = imports_of(&[("lib.rs", "mod a; struct S;"), ("a.rs", "use super::S;")]);
    assert_eq!(imports, ["a.rs -> lib.rs"]);
    assert!(cycles.is_empty());
}

#[test]
fn re_exports_lead_to_the_definition() {
    let (imports, cycles) = imports_of(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a/mod.rs", "mod inner; pub use inner::Thing as Renamed;"),
        ("a/inner.rs", "pub struct Thing;"),
        ("b.rs", "use super::a::{self}; fn f(_: a::Renamed) {}"),
        ("c.rs", "use crate::a::*; fn f() { let _ = vec![Renamed]; }"),
    ]);
    assert_eq!(imports, ["b.rs -> a/inner.rs", "c.rs -> a/inner.rs"]);
    assert!(cycles.is_empty());
}

#[test]
fn an_item_can_have_the_name_of_its_module() {
    let (imports, cycles) = imports_of(&[
        ("lib.rs", "mod log; mod a; use crate::log::log; fn f() { log(); log::missing(); }"),
        ("log.rs", "pub fn log() {}"),
        ("a.rs", "use crate::log::log; fn f() { log() }"),
    ]);
    assert_eq!(imports, ["a.rs -> log.rs", "lib.rs -> log.rs"]);
    assert!(cycles.is_empty());
}

#[test]
fn a_cycle_over_three_files_is_found() {
    let (_, cycles) = imports_of(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "pub fn f() { crate::b::f() }"),
        ("b.rs", "pub fn f() { println!(\"{:?}\", super::c::f()) }"),
        ("c.rs", "use crate::a as other; #[serde(with = \"other::f\")] pub struct S; pub fn f() {}"),
    ]);
    assert_eq!(cycles.iter().map(Vec::len).collect::<Vec<_>>(), [3]);
}

#[test]
fn code_for_tests_does_not_count() {
    let (imports, _) = imports_of(&[
        ("lib.rs", "mod a; #[cfg(test)] mod tests;"),
        ("a.rs", "pub fn f() {} #[cfg(test)] mod tests { use crate::g; } #[cfg(test)] use crate::g;"),
        ("tests.rs", "use crate::a::f;"),
    ]);
    assert!(imports.is_empty(), "{imports:?}");
}
