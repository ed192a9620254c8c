package servers_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/latchkey-dev/latchkey/test/servers"
)

func TestPostgreSQLKeepsWhatItWasToldWhenItIsKilled(t *testing.T) {
	t.Parallel()
	server := servers.StartPostgreSQL(t)
	dsn := server.Database(t)
	server.Do(t, dsn, "CREATE TABLE kept (n INT)")
	server.Do(t, dsn, "INSERT INTO kept VALUES (42)")
	server.Kill()
	if connection, err := pgx.Connect(t.Context(), dsn); err == nil {
		connection.Close(t.Context())
		t.Error("a killed server answers")
	}
	server.Start()
	connection, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(t.Context())
	var got int
	if err := connection.QueryRow(t.Context(), "SELECT n FROM kept").Scan(&got); err != nil || got != 42 {
		t.Errorf("got %d, %v, want 42", got, err)
	}
}

func TestRedisKeepsWhatItWasToldWhenItIsKilled(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	options, err := redis.ParseURL(server.Database())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	if err := client.Set(t.Context(), "kept", 42, 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Start()
	if got, err := client.Get(t.Context(), "kept").Int(); err != nil || got != 42 {
		t.Errorf("got %d, %v, want 42", got, err)
	}
}
