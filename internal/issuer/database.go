package issuer

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/filetree"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/postgres"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/redis"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/sqlite"
)

// database opens the store that the options name. Where that is elsewhere, a volume says where, and changed is what to do with it: new
// connections go where it says from then on.
func database(ctx context.Context, o Options) (s store.Store, changed func(filetree.Tree) error, err error) {
	var elsewhere interface {
		store.Store
		Use(url string, authorities []byte) error
	}
	switch {
	case o.PostgreSQL != "":
		elsewhere = postgres.New(postgres.Options{Owner: o.Owner})
	case o.Redis != "":
		elsewhere = redis.New(redis.Options{Owner: o.Owner})
	default:
		s, err = sqlite.Open(ctx, filepath.Join(o.Data, databaseFile))
		return s, nil, err
	}
	return elsewhere, func(tree filetree.Tree) error {
		url, err := file(tree, config.StoreURLFile)
		if err != nil {
			return err
		}
		if err := elsewhere.Use(strings.TrimSpace(string(url)), tree[config.StoreAuthorityFile]); err != nil {
			return fmt.Errorf("%s: %w", config.StoreURLFile, err)
		}
		return nil
	}, nil
}
