// flux-oci pushes and pulls with Flux's own OCI library, for tests that compare Capitan with it.
//
//	flux-oci push  URL PATH [flags]       Client.Push: a tarball or a static layer
//	flux-oci pull  URL PATH [flags]       Client.Pull; prints the metadata
//	flux-oci list  URL                    Client.List; prints the metadata of each tag
//	flux-oci tag   URL TAG                Client.Tag
//	flux-oci diff  URL PATH               Client.Diff; fails when they differ
//	flux-oci image URL TYPE=PATH...       several layers, with a config that has diff_ids as older Flux wrote it
//	flux-oci index URL PLATFORM=URL...    an index of artifacts that are there
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/fluxcd/pkg/oci"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

type options struct {
	layerType, extension, source, revision, created string
	annotations, ignore                             list
	index                                           int
}

func parse(args []string) (options, []string) {
	var o options
	flags := flag.NewFlagSet("flux-oci", flag.ExitOnError)
	flags.StringVar(&o.layerType, "type", "", "tarball or static")
	flags.StringVar(&o.extension, "ext", "", "media type extension of a static layer")
	flags.StringVar(&o.source, "source", "", "source annotation")
	flags.StringVar(&o.revision, "revision", "", "revision annotation")
	flags.StringVar(&o.created, "created", "", "created annotation")
	flags.Var(&o.annotations, "annotation", "key=value, repeatable")
	flags.Var(&o.ignore, "ignore", "gitignore pattern, repeatable")
	flags.IntVar(&o.index, "index", 0, "index of the layer to pull")
	_ = flags.Parse(args)
	return o, flags.Args()
}

func push(ctx context.Context, client *oci.Client, url, path string, o options) (any, error) {
	meta := oci.Metadata{Created: o.created, Source: o.source, Revision: o.revision, Annotations: map[string]string{}}
	for _, annotation := range o.annotations {
		key, value, _ := strings.Cut(annotation, "=")
		meta.Annotations[key] = value
	}
	how := []oci.PushOption{oci.WithPushMetadata(meta), oci.WithPushIgnorePaths(o.ignore...)}
	if o.layerType != "" {
		how = append(how, oci.WithPushLayerType(oci.LayerType(o.layerType)), oci.WithPushMediaTypeExt(o.extension))
	}
	return client.Push(ctx, url, path, how...)
}

func pull(ctx context.Context, client *oci.Client, url, path string, o options) (any, error) {
	how := []oci.PullOption{oci.WithPullLayerIndex(o.index)}
	if o.layerType != "" {
		how = append(how, oci.WithPullLayerType(oci.LayerType(o.layerType)))
	}
	return client.Pull(ctx, url, path, how...)
}

func image(url string, parts []string) (any, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, part := range parts {
		mediaType, path, _ := strings.Cut(part, "=")
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		layer := static.NewLayer(content, types.MediaType(mediaType))
		img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{}})
		if err != nil {
			return nil, err
		}
	}
	if err := crane.Push(img, url); err != nil {
		return nil, err
	}
	return img.Digest()
}

func index(url string, parts []string) (any, error) {
	var all v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, part := range parts {
		platform, from, _ := strings.Cut(part, "=")
		img, err := crane.Pull(from)
		if err != nil {
			return nil, err
		}
		parsed, err := v1.ParsePlatform(platform)
		if err != nil {
			return nil, err
		}
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: parsed}})
	}
	ref, err := name.ParseReference(url)
	if err != nil {
		return nil, err
	}
	if err := remote.WriteIndex(ref, all); err != nil {
		return nil, err
	}
	return all.Digest()
}

func run(verb, url string, o options, args []string) (any, error) {
	ctx, client := context.Background(), oci.NewClient(oci.DefaultOptions())
	first := ""
	if len(args) > 0 {
		first = args[0]
	}
	switch verb {
	case "push":
		return push(ctx, client, url, first, o)
	case "pull":
		return pull(ctx, client, url, first, o)
	case "list":
		return client.List(ctx, url, oci.ListOptions{})
	case "tag":
		return client.Tag(ctx, url, first)
	case "diff":
		return nil, client.Diff(ctx, url, first, o.ignore)
	case "image":
		return image(url, args)
	case "index":
		return index(url, args)
	}
	return nil, fmt.Errorf("unknown verb %q", verb)
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: flux-oci VERB URL ...")
		os.Exit(2)
	}
	o, args := parse(os.Args[3:])
	result, err := run(os.Args[1], os.Args[2], o, args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(result)
}
