// What transparency-dev's and Go's own code says of a log of ours: Tessera's fsck, sumdb/note and the merkle library.
//
//	tlog fsck ADDRESS VKEY             rebuild the log over HTTP; print its size and root
//	tlog note CHECKPOINT VKEY [WITNESS-VKEY]   open the checkpoint, and the cosignature of a witness
//	tlog proof FILE VKEY               check a .tlog-proof whose extra data is the entry
//	tlog witnessed FOLDER POLICY       run a Tessera log that publishes only what the policy's witnesses cosigned
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// workers of fsck: each ends with the first bad tile that it sees, and when all have ended Tessera 1.0.4 waits for ever.
// One byte spoils at most one tile of each of eight levels.
const workers = 9

var commands = map[string]func(arguments []string) error{
	"fsck":      runFsck,
	"note":      openNote,
	"proof":     checkProof,
	"witnessed": runWitnessed,
}

func main() {
	run := commands[append(os.Args, "")[1]]
	if run == nil || len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "tlog fsck|note|proof|witnessed …")
		os.Exit(2)
	}
	if err := run(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runFsck(arguments []string) error {
	address, err := url.Parse(arguments[0])
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(arguments[1])
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(address, nil)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := fsck.New(verifier.Name(), verifier, fetcher, leafHashes, fsck.Opts{N: workers}).Check(ctx); err != nil {
		return err
	}
	head, _, _, err := client.FetchCheckpoint(ctx, fetcher.ReadCheckpoint, verifier, verifier.Name())
	if err != nil {
		return err
	}
	fmt.Printf("%d %x\n", head.Size, head.Hash)
	return nil
}

// leafHashes reads a bundle by Tessera's own parser.
func leafHashes(bundle []byte) ([][]byte, error) {
	read := api.EntryBundle{}
	if err := read.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, 0, len(read.Entries))
	for _, entry := range read.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

func openNote(arguments []string) error {
	signed, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(arguments[1])
	if err != nil {
		return err
	}
	verifiers := []note.Verifier{verifier}
	for _, vkey := range arguments[2:] {
		witness, err := fnote.NewVerifierForCosignatureV1(vkey)
		if err != nil {
			return err
		}
		verifiers = append(verifiers, witness)
	}
	opened, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	if len(opened.Sigs) < len(verifiers) {
		return fmt.Errorf("%d of %d signatures", len(opened.Sigs), len(verifiers))
	}
	head, _, _, err := log.ParseCheckpoint(signed, verifier.Name(), verifier)
	if err != nil {
		return err
	}
	fmt.Printf("%d %x\n", head.Size, head.Hash)
	return nil
}

func checkProof(arguments []string) error {
	data, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(arguments[1])
	if err != nil {
		return err
	}
	head, signed, found := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("no tlog-proof")
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseUint(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var path [][]byte
	for _, line := range lines[3:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return err
		}
		path = append(path, hash)
	}
	checkpoint, _, _, err := log.ParseCheckpoint(signed, verifier.Name(), verifier)
	if err != nil {
		return err
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(entry)
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, checkpoint.Size, leaf, path, checkpoint.Hash); err != nil {
		return err
	}
	fmt.Printf("%d %s\n", index, entry)
	return nil
}

// runWitnessed appends three times; each checkpoint must be cosigned before Tessera publishes it.
// The first line that it prints is its log's verifier key: the witness must know it before it goes on (a line of input).
func runWitnessed(arguments []string) error {
	secret, vkey, err := note.GenerateKey(nil, "tessera.example/log")
	if err != nil {
		return err
	}
	fmt.Println(vkey)
	if _, err := fmt.Scanln(new(string)); err != nil {
		return err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return err
	}
	policy, err := os.ReadFile(arguments[1])
	if err != nil {
		return err
	}
	witnesses, err := tessera.NewWitnessGroupFromPolicy(policy)
	if err != nil {
		return err
	}
	ctx := context.Background()
	driver, err := posix.New(ctx, posix.Config{Path: arguments[0]})
	if err != nil {
		return err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(1, 50*time.Millisecond).
		WithCheckpointInterval(100*time.Millisecond).
		WithWitnesses(witnesses, &tessera.WitnessOptions{Timeout: 5 * time.Second})
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return err
	}
	published := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	var checkpoint []byte
	for n := range 3 {
		added := appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "entry %d", n)))
		if _, checkpoint, err = published.Await(ctx, added); err != nil {
			return err
		}
	}
	fmt.Print(string(checkpoint))
	return shutdown(ctx)
}
