package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const thread = "01a22410-5118-7f62-ba93-4ed9697ad7e7"

var (
	manifest = Manifest{Version: Version, SessionID: "telegram:1", ThreadID: thread, WorkerID: "worker", JournalID: "journal",
		LastTurnID: "7-1-1-1", Workspace: true, ExportedAt: time.Unix(1_800_000_000, 0).UTC()}
	roomy = Limits{Bytes: 1 << 20, Entries: 100}
)

const rollout = threadDir + "/2026/11/28/rollout-2026-11-28T21-29-38-" + thread + ".jsonl"

// write makes files beneath a directory; a value that begins with "-> " is a link.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, link := strings.CutPrefix(content, "-> "); link {
			err = errors.Join(err, os.Symlink(target, path))
		} else {
			err = errors.Join(err, os.WriteFile(path, []byte(content), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestASessionArrivesAsItWas(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write(t, from, map[string]string{
		rollout: "what was said", threadDir + "/2026/11/28/rollout-another.jsonl": "of another session",
		"work/a.txt": "a", "work/deep/er/run.sh": "#!/bin/sh", "work/empty/x": "", "work/bin/run": "-> ../deep/er/run.sh", "work/here": "-> .",
		"work/out": "-> ../../etc/passwd", "work/abs": "-> /etc/passwd", "work/hidden": "-> deep/../../x",
	})
	when := time.Unix(1_700_000_000, 0)
	if err := errors.Join(os.Remove(filepath.Join(from, "work/empty/x")), os.Chmod(filepath.Join(from, "work/deep/er/run.sh"), 0o4755),
		os.Chtimes(filepath.Join(from, "work/a.txt"), when, when)); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	left, err := Write(&file, manifest, Source{Sessions: filepath.Join(from, threadDir), Workspace: filepath.Join(from, "work")})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Sort(left); !slices.Equal(left, []string{"abs", "hidden", "out"}) {
		t.Errorf("left out: %v", left)
	}
	u, err := Read(&file, to, roomy)
	if err != nil {
		t.Fatal(err)
	}
	if u.Manifest != manifest || !slices.Equal(u.Threads, []string{strings.TrimPrefix(rollout, threadDir+"/")}) {
		t.Errorf("unpacked %+v", u)
	}
	var got []string
	err = filepath.WalkDir(to, func(path string, entry fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(to, path)
		info, _ := entry.Info()
		switch {
		case entry.IsDir():
			got = append(got, rel+" "+info.Mode().String())
		case entry.Type() == fs.ModeSymlink:
			target, _ := os.Readlink(path)
			got = append(got, rel+" -> "+target)
		default:
			content, _ := os.ReadFile(path)
			got = append(got, rel+" "+info.Mode().String()+" "+string(content))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{". drwxr-xr-x", "sessions drwx------", "sessions/2026 drwx------", "sessions/2026/11 drwx------", "sessions/2026/11/28 drwx------",
		rollout + " -rw------- what was said", "workspace drwx------", "workspace/a.txt -rw------- a", "workspace/bin drwx------",
		"workspace/bin/run -> ../deep/er/run.sh", "workspace/deep drwx------", "workspace/deep/er drwx------",
		"workspace/deep/er/run.sh -rwx------ #!/bin/sh", "workspace/empty drwx------", "workspace/here -> ."}
	if runtime.GOOS != "windows" && !slices.Equal(got, want) {
		t.Errorf("unpacked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if info, err := os.Stat(filepath.Join(to, "workspace/a.txt")); err != nil || !info.ModTime().Equal(when) {
		t.Errorf("its time is lost: %v, %v", info, err)
	}
}

func TestASessionWithoutAThreadIsNone(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(&bytes.Buffer{}, manifest, Source{Sessions: filepath.Join(dir, "none"), Workspace: dir}); !errors.Is(err, ErrNoThread) {
		t.Errorf("written: %v", err)
	}
}

// A name that merely ends like the thread's, or what a copy has left half done, is
// another file.
func TestOnlyTheThreadsOwnFilesAreTaken(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		rollout: "x", threadDir + "/" + thread + ".jsonl": "x", threadDir + "/rollout-1" + thread + ".jsonl": "x",
		rollout + ".tmp": "x", strings.TrimSuffix(rollout, "jsonl") + "txt": "x", threadDir + "/rollout-1.jsonl": "x",
	})
	sessions := filepath.Join(dir, threadDir)
	files, err := Threads(sessions, thread)
	if want := []string{strings.TrimPrefix(rollout, threadDir+"/")}; err != nil || !slices.Equal(files, want) {
		t.Errorf("files %v, %v; want %v", files, err, want)
	}
	for _, id := range []string{"", "1", thread[1:], "-" + thread, thread[len(thread)-12:]} {
		if files, err := Threads(sessions, id); !errors.Is(err, ErrNoThread) {
			t.Errorf("thread %q: %v, %v", id, files, err)
		}
	}
}

// entry is a tar header with its content.
type entry struct {
	tar.Header
	content string
}

func dir(name string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o777}}
}
func plain(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o7777, Size: int64(len(content))}, content}
}
func link(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}}
}

func packed(t testing.TB, m any, entries ...entry) []byte {
	t.Helper()
	file, ok := pack(m, entries...)
	if !ok {
		t.Fatal("a tar cannot say that")
	}
	return file
}

func pack(m any, entries ...entry) (packed []byte, ok bool) {
	content, err := json.Marshal(m)
	if err != nil {
		return nil, false
	}
	var file bytes.Buffer
	zipped := gzip.NewWriter(&file)
	out := tar.NewWriter(zipped)
	for _, e := range append([]entry{plain(manifestName, string(content))}, entries...) {
		err := out.WriteHeader(&e.Header)
		if err == nil {
			_, err = out.Write([]byte(e.content))
		}
		if err != nil {
			return nil, false
		}
	}
	err = errors.Join(out.Close(), zipped.Close())
	return file.Bytes(), err == nil
}

// good is what every archive has.
func good() []entry {
	return []entry{dir("sessions/"), plain("sessions/rollout-"+thread+".jsonl", "x"), dir("workspace/")}
}

func TestNothingLeavesTheDirectoryThatAnArchiveIsUnpackedInto(t *testing.T) {
	outer := t.TempDir()
	outside := filepath.Join(outer, "outside")
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	other := manifest
	other.Version = 2
	nobody := manifest
	nobody.SessionID = ""
	suffix := manifest
	suffix.ThreadID = thread[1:]
	bare := manifest
	bare.Workspace = false
	whole := packed(t, manifest, good()...)
	for name, file := range map[string][]byte{
		"no archive":               []byte("hello"),
		"empty":                    nil,
		"cut off":                  whole[:len(whole)-9],
		"damaged":                  append(slices.Clone(whole[:len(whole)-8]), 1, 2, 3, 4, 5, 6, 7, 8),
		"a later version":          packed(t, other, good()...),
		"nobody's":                 packed(t, nobody, good()...),
		"of no thread's id":        packed(t, suffix, good()...),
		"no JSON object":           packed(t, "x", good()...),
		"another thread":           packed(t, manifest, dir("sessions"), plain("sessions/rollout-1.jsonl", "x"), dir("workspace")),
		"a second thread":          packed(t, manifest, append(good(), plain("sessions/rollout-1.jsonl", "x"))...),
		"no workspace":             packed(t, manifest, good()[:2]...),
		"a workspace too many":     packed(t, bare, good()...),
		"up":                       packed(t, manifest, append(good(), plain("workspace/../../outside/x", "x"))...),
		"up and down":              packed(t, manifest, append(good(), plain("../outside/x", "x"))...),
		"absolute":                 packed(t, manifest, append(good(), plain(outside+"/x", "x"))...),
		"elsewhere":                packed(t, manifest, append(good(), plain("private/x", "x"))...),
		"beside":                   packed(t, manifest, append(good(), plain("x", "x"))...),
		"not clean":                packed(t, manifest, append(good(), plain("workspace/./x", "x"))...),
		"backslash":                packed(t, manifest, append(good(), plain(`workspace/..\..\x`, "x"))...),
		"a long name":              packed(t, manifest, append(good(), plain("workspace/"+strings.Repeat("x", 5000), "x"))...),
		"no directory":             packed(t, manifest, append(good(), plain("workspace/a/x", "x"))...),
		"twice":                    packed(t, manifest, append(good(), plain("workspace/x", "1"), plain("workspace/x", "2"))...),
		"a directory for a file":   packed(t, manifest, append(good(), plain("workspace/x", "1"), dir("workspace/x"))...),
		"a link out":               packed(t, manifest, append(good(), link("workspace/x", "../../outside"))...),
		"an absolute link":         packed(t, manifest, append(good(), link("workspace/x", outside))...),
		"a link that turns":        packed(t, manifest, append(good(), dir("workspace/a"), link("workspace/a/up", ".."), link("workspace/x", "a/up/../../outside"))...),
		"a link to nowhere":        packed(t, manifest, append(good(), link("workspace/x", "a\\b"))...),
		"through a link":           packed(t, manifest, append(good(), dir("workspace/a"), link("workspace/x", "a"), plain("workspace/x/y", "x"))...),
		"over a link":              packed(t, manifest, append(good(), link("workspace/x", "y"), plain("workspace/x", "x"))...),
		"a link for a thread":      packed(t, manifest, append(good(), link("sessions/x", "y"))...),
		"a link for the workspace": packed(t, manifest, append(good()[:2], link("workspace", "sessions"))...),
		"a hard link":              packed(t, manifest, append(good(), entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: "workspace/x", Linkname: "sessions/x"}})...),
		"a device":                 packed(t, manifest, append(good(), entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "workspace/x"}})...),
		"a pipe":                   packed(t, manifest, append(good(), entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "workspace/x"}})...),
		"too large":                packed(t, manifest, append(good(), plain("workspace/x", strings.Repeat("x", 1<<20)))...),
		"too many":                 packed(t, manifest, append(good(), slices.Repeat([]entry{dir("workspace")}, 100)...)...),
		"a file of its own name":   packed(t, manifest, append(good()[:2], plain("workspace", "x"))...),
	} {
		t.Run(name, func(t *testing.T) {
			to := filepath.Join(outer, "to")
			if err := os.Mkdir(to, 0o700); err != nil {
				t.Fatal(err)
			}
			u, err := Read(bytes.NewReader(file), to, roomy)
			if refused := (*Error)(nil); !errors.As(err, &refused) {
				t.Errorf("unpacked %+v, %v", u, err)
			}
			contained(t, outer)
			if err := os.RemoveAll(to); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// contained fails the test when anything was written beside the directory "to".
func contained(t *testing.T, outer string) {
	t.Helper()
	beside, err := os.ReadDir(outer)
	if err != nil {
		t.Fatal(err)
	}
	outside, err := os.ReadDir(filepath.Join(outer, "outside"))
	if err != nil || len(beside) != 2 || len(outside) != 0 {
		t.Errorf("beside it: %v, %v, %v", beside, outside, err)
	}
}

// scripted are the entries that a text tells, one a line: what kind it is, its name,
// and after ">" where it leads or what is in it. Bytes of a tar would hardly ever
// get past its checksums.
func scripted(text string) (entries []entry) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || len(entries) == 50 {
			continue
		}
		name, more, _ := strings.Cut(line[1:], ">")
		switch e := plain(name, more); line[0] {
		case 'f':
			entries = append(entries, e)
		case 'd':
			entries = append(entries, dir(name))
		case 'l':
			entries = append(entries, link(name, more))
		default:
			entries = append(entries, entry{Header: tar.Header{Typeflag: line[0], Name: name, Linkname: more}})
		}
	}
	return entries
}

// FuzzRead holds that whatever an archive says, nothing lies outside afterwards, no
// link leads there, and nobody else can read what was unpacked.
func FuzzRead(f *testing.F) {
	for _, text := range []string{"", "fworkspace/a>x\nlworkspace/b>a", "dworkspace/a\nlworkspace/a/b>..\nlworkspace/c>a/b", "lworkspace/b>../..", "f../x>x",
		"lworkspace/a>.\nfworkspace/a/b>x", "dworkspace/a\n2workspace/a>/etc", "1workspace/x>sessions/x", "fsessions/x>y", "dworkspace"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, ok := pack(manifest, append(good(), scripted(text)...)...)
		if !ok {
			return // a tar cannot say that
		}
		outer := t.TempDir()
		to := filepath.Join(outer, "to")
		if err := errors.Join(os.Mkdir(to, 0o700), os.Mkdir(filepath.Join(outer, "outside"), 0o700)); err != nil {
			t.Fatal(err)
		}
		_, err := Read(bytes.NewReader(file), to, roomy)
		contained(t, outer)
		walked := filepath.WalkDir(to, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if entry.Type() == fs.ModeSymlink {
				resolved, err := filepath.EvalSymlinks(path)
				if err == nil && resolved != to && !strings.HasPrefix(resolved, filepath.Join(to, workDir)) {
					t.Errorf("%s leads to %s", path, resolved)
				}
				return nil
			}
			if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s is %v", path, info.Mode())
			}
			return nil
		})
		if walked != nil {
			t.Errorf("%v after %v", walked, err)
		}
	})
}
