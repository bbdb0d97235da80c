// sops-batch does with the sops library, in one process, what the sops command does per process.
// Each line on stdin is a JSON request, each line on stdout its answer, in order:
//
//	{"op": "decrypt", "format": "yaml", "file": "<base64>"}
//	{"op": "rotate",  "format": "yaml", "file": "<base64>"}
//	{"op": "encrypt", "format": "yaml", "file": "<base64>", "groups": [["age1…"]], "rule": {"encrypted_regex": "^data$"}}
//	{"op": "tree",    "format": "yaml", "file": "<base64>"}   a plain file as sops sees it, comments included
//
//	{"op": "add",     "format": "yaml", "file": "<base64>", "recipient": "age1…"}   who comes, under the same data key
//	{"op": "remove",  "format": "yaml", "file": "<base64>", "recipient": "age1…"}   who goes, and a new data key
//
// The last two are what a rotation of keys does to a file: what comes out is opened and verified again.
// Answers are {"status": 0, "file": "<base64>"}, the status being that of the sops command. With
// -bench OP FILE... the files are read first and the answer is how many milliseconds OP took for all;
// OP is add=age1… or remove=age1… where somebody comes or goes.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/logging"
	"github.com/getsops/sops/v3/version"
	"github.com/sirupsen/logrus"
)

type request struct {
	Op        string            `json:"op"`
	Format    string            `json:"format"`
	File      []byte            `json:"file"`
	Groups    [][]string        `json:"groups"`
	Threshold int               `json:"threshold"`
	Rule      map[string]string `json:"rule"`
	MacOnly   bool              `json:"macOnly"`
	Recipient string            `json:"recipient"`
}

type answer struct {
	Status int    `json:"status"`
	File   []byte `json:"file,omitempty"`
	Tree   any    `json:"tree,omitempty"`
	Error  string `json:"error,omitempty"`
}

var services = []keyservice.KeyServiceClient{keyservice.NewLocalClient()}

func storeOf(format string) common.Store {
	return common.StoreForFormat(formats.FormatFromString(format), config.NewStoresConfig())
}

func open(store common.Store, file []byte) (*sops.Tree, []byte, *aes.Cipher, error) {
	tree, err := store.LoadEncryptedFile(file)
	if err != nil {
		return nil, nil, nil, exit(err, loadStatus(err))
	}
	// The command compares the version, so it needs one.
	if _, err := version.AIsNewerThanB("3.3.0", tree.Metadata.Version); err != nil {
		return nil, nil, nil, exit(err, 1)
	}
	cipher := aes.NewCipher()
	key, err := common.DecryptTree(common.DecryptTreeOpts{
		Tree: &tree, KeyServices: services, Cipher: cipher, DecryptionOrder: sops.DefaultDecryptionOrder,
	})
	return &tree, key, &cipher, err
}

// The command ends with 1 for metadata and with 2 for text that it cannot read.
func loadStatus(err error) int {
	if errors.Is(err, sops.MetadataNotFound) {
		return 1
	}
	return 2
}

type statusError struct {
	error
	status int
}

func exit(err error, status int) error { return statusError{err, status} }

func decrypt(r request) ([]byte, error) {
	store := storeOf(r.Format)
	tree, _, _, err := open(store, r.File)
	if err != nil {
		return nil, err
	}
	return store.EmitPlainFile(tree.Branches)
}

func rotate(r request) ([]byte, error) {
	store := storeOf(r.Format)
	tree, _, cipher, err := open(store, r.File)
	if err != nil {
		return nil, err
	}
	key, errs := tree.GenerateDataKeyWithKeyServices(services)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	err = common.EncryptTree(common.EncryptTreeOpts{Tree: tree, Cipher: *cipher, DataKey: key})
	if err != nil {
		return nil, err
	}
	return store.EmitEncryptedFile(*tree)
}

// add leaves values and other entries as they are.
func add(r request) ([]byte, error) {
	store := storeOf(r.Format)
	_, key, _, err := open(store, r.File)
	if err != nil {
		return nil, err
	}
	come, err := age.MasterKeyFromRecipient(r.Recipient)
	if err != nil {
		return nil, err
	}
	if err := come.Encrypt(key); err != nil {
		return nil, err
	}
	tree, err := store.LoadEncryptedFile(r.File)
	if err != nil {
		return nil, err
	}
	groups := tree.Metadata.KeyGroups
	groups[0] = append(sops.KeyGroup{come}, groups[0]...)
	return verified(store, &tree)
}

func remove(r request) ([]byte, error) {
	store := storeOf(r.Format)
	tree, _, cipher, err := open(store, r.File)
	if err != nil {
		return nil, err
	}
	for i, group := range tree.Metadata.KeyGroups {
		tree.Metadata.KeyGroups[i] = slices.DeleteFunc(group, func(key keys.MasterKey) bool {
			return key.ToString() == r.Recipient
		})
	}
	key, errs := tree.GenerateDataKeyWithKeyServices(services)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	err = common.EncryptTree(common.EncryptTreeOpts{Tree: tree, Cipher: *cipher, DataKey: key})
	if err != nil {
		return nil, err
	}
	return verified(store, tree)
}

// verified is the file of a tree, after it was opened again.
func verified(store common.Store, tree *sops.Tree) ([]byte, error) {
	file, err := store.EmitEncryptedFile(*tree)
	if err != nil {
		return nil, err
	}
	_, _, _, err = open(store, file)
	return file, err
}

func encrypt(r request) ([]byte, error) {
	store := storeOf(r.Format)
	branches, err := store.LoadPlainFile(r.File)
	if err != nil {
		return nil, exit(err, 2)
	}
	if len(branches) < 1 {
		return nil, exit(errors.New("no document"), 92)
	}
	if store.HasSopsTopLevelKey(branches[0]) {
		return nil, exit(errors.New("already encrypted"), 203)
	}
	tree := sops.Tree{Branches: branches, Metadata: sops.Metadata{
		Version: "3.13.3", ShamirThreshold: r.Threshold, MACOnlyEncrypted: r.MacOnly,
		UnencryptedSuffix: r.Rule["unencrypted_suffix"], EncryptedSuffix: r.Rule["encrypted_suffix"],
		UnencryptedRegex: r.Rule["unencrypted_regex"], EncryptedRegex: r.Rule["encrypted_regex"],
		UnencryptedCommentRegex: r.Rule["unencrypted_comment_regex"],
		EncryptedCommentRegex:   r.Rule["encrypted_comment_regex"],
	}}
	if len(r.Rule) == 0 && r.Format != "binary" {
		tree.Metadata.UnencryptedSuffix = sops.DefaultUnencryptedSuffix
	}
	for _, recipients := range r.Groups {
		var group sops.KeyGroup
		for _, recipient := range recipients {
			key, err := age.MasterKeyFromRecipient(recipient)
			if err != nil {
				return nil, err
			}
			group = append(group, key)
		}
		tree.Metadata.KeyGroups = append(tree.Metadata.KeyGroups, group)
	}
	key, errs := tree.GenerateDataKeyWithKeyServices(services)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	err = common.EncryptTree(common.EncryptTreeOpts{Tree: &tree, Cipher: aes.NewCipher(), DataKey: key})
	if err != nil {
		return nil, err
	}
	return store.EmitEncryptedFile(tree)
}

// A tree as lists: ["key", value], {"comment": "…", "inline": true}.
func shown(value any) any {
	switch v := value.(type) {
	case sops.TreeBranch:
		items := []any{}
		for _, item := range v {
			if comment, ok := item.Key.(sops.Comment); ok {
				items = append(items, shown(comment))
			} else {
				items = append(items, []any{item.Key, shown(item.Value)})
			}
		}
		return map[string]any{"map": items}
	case []any:
		items := []any{}
		for _, item := range v {
			items = append(items, shown(item))
		}
		return map[string]any{"list": items}
	case sops.Comment:
		return map[string]any{"comment": v.Value, "inline": v.Inline}
	case nil:
		return nil
	}
	bytes, err := sops.ToBytes(value)
	if err != nil {
		return fmt.Sprintf("%T", value)
	}
	return fmt.Sprintf("%T:%s", value, bytes)
}

func tree(r request) (any, error) {
	branches, err := storeOf(r.Format).LoadPlainFile(r.File)
	if err != nil {
		return nil, exit(err, 2)
	}
	var documents []any
	for _, branch := range branches {
		documents = append(documents, shown(branch))
	}
	return documents, nil
}

func do(r request) (a answer) {
	defer func() {
		if trouble := recover(); trouble != nil {
			a = answer{Status: 2, Error: fmt.Sprint(trouble)}
		}
	}()
	var err error
	switch r.Op {
	case "decrypt":
		a.File, err = decrypt(r)
	case "rotate":
		a.File, err = rotate(r)
	case "encrypt":
		a.File, err = encrypt(r)
	case "add":
		a.File, err = add(r)
	case "remove":
		a.File, err = remove(r)
	case "tree":
		a.Tree, err = tree(r)
	default:
		err = fmt.Errorf("no operation %q", r.Op)
	}
	if err != nil {
		a = answer{Status: statusOf(err), Error: err.Error()}
	}
	return a
}

func statusOf(err error) int {
	var coded interface{ ExitCode() int }
	var own statusError
	switch {
	case errors.As(err, &own):
		return own.status
	case errors.As(err, &coded):
		return coded.ExitCode()
	}
	return 1
}

func serve(in io.Reader, out io.Writer) error {
	requests := json.NewDecoder(bufio.NewReaderSize(in, 1<<20))
	answers := json.NewEncoder(out)
	for {
		var r request
		if err := requests.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := answers.Encode(do(r)); err != nil {
			return err
		}
	}
}

// cpu is what the process has used, the garbage collector's threads included.
func cpu() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func bench(op string, names []string) error {
	var files [][]byte
	for _, name := range names {
		file, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	op, recipient, _ := strings.Cut(op, "=")
	started, used := time.Now(), cpu()
	for i, file := range files {
		if a := do(request{Op: op, Format: "yaml", File: file, Recipient: recipient}); a.Status != 0 {
			return fmt.Errorf("%s: %s", names[i], a.Error)
		}
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"ms": ms(time.Since(started)), "cpuMs": ms(cpu() - used),
	})
}

func main() {
	for _, logger := range logging.Loggers {
		logger.SetLevel(logrus.PanicLevel)
	}
	var err error
	if len(os.Args) > 2 && os.Args[1] == "-bench" {
		err = bench(os.Args[2], os.Args[3:])
	} else {
		err = serve(os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
