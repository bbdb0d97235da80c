package main

import (
	"context"
	"encoding/json"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/uuid"
	inmemoryclient "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/runtime/client"
	"sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/runtime/manager"
	"sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/runtime/resourcegroup"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// plainManager is the backend with two answers as Kubernetes gives them: every object has a uid, and a
// refusal is a Status, not a Status wrapped in {"ErrStatus": …}.
type plainManager struct{ manager.Manager }

func (m plainManager) GetResourceGroup(name string) resourcegroup.ResourceGroup {
	return plainGroup{m.Manager.GetResourceGroup(name)}
}

type plainGroup struct{ resourcegroup.ResourceGroup }

func (g plainGroup) GetClient() inmemoryclient.Client {
	return plainClient{g.ResourceGroup.GetClient()}
}

type plainClient struct{ inner inmemoryclient.Client }

func (c plainClient) Get(ctx context.Context, key client.ObjectKey, obj client.Object) error {
	return plain(c.inner.Get(ctx, key, obj))
}

func (c plainClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return plain(c.inner.List(ctx, list, opts...))
}

func (c plainClient) Create(ctx context.Context, obj client.Object) error {
	obj.SetUID(uuid.NewUUID())
	return plain(c.inner.Create(ctx, obj))
}

func (c plainClient) Delete(ctx context.Context, obj client.Object) error {
	return plain(c.inner.Delete(ctx, obj))
}

func (c plainClient) Update(ctx context.Context, obj client.Object) error {
	return plain(c.inner.Update(ctx, obj))
}

func (c plainClient) Patch(ctx context.Context, obj client.Object, patch client.Patch) error {
	return plain(c.inner.Patch(ctx, obj, patch))
}

// plainError is written as its Status.
type plainError struct{ *apierrors.StatusError }

func (e plainError) MarshalJSON() ([]byte, error) {
	status := e.Status()
	status.APIVersion, status.Kind = "v1", "Status"
	return json.Marshal(status)
}

func plain(err error) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return plainError{status}
	}
	return err
}
