/* Groups and channels without a loop: who gets what. */
#include "unit.h"

#include "layer/changes.h"

struct member {
    unsigned got;
    bool full;
};

static bool take(void *owner, rl_message *m)
{
    struct member *self = owner;

    if (self->full)
        return false;
    self->got++;
    return true;
}

static void fans_out_to_members_only(void)
{
    rl_layer layer;
    struct member people[4] = {0};
    rl_channel *ch[4];
    rl_message *m = rl_message_new(RL_STR("body"), RL_STR("h"), RL_STR("payload"));

    rl_layer_init(&layer);
    for (int i = 0; i < 4; i++) {
        ch[i] = rl_channel_open(&layer, i == 1 ? RL_STR("one") : RL_STR(""), take, &people[i]);
        rl_layer_join(&layer, RL_STR("room"), ch[i]);
        rl_layer_join(&layer, RL_STR("room"), ch[i]); /* joining twice is joining */
    }
    rl_layer_leave(&layer, RL_STR("room"), ch[1]);
    people[2].full = true;
    rl_receipt r = rl_layer_group_send(&layer, RL_STR("room"), m);
    CHECK_INT(r.delivered, 2);
    CHECK_INT(r.dropped, 1);
    CHECK(people[0].got == 1 && people[1].got == 0 && people[3].got == 1);
    CHECK_MEM(m->frame->data, m->frame->n, "hpayload");

    CHECK_INT(rl_layer_send(&layer, rl_layer_find(&layer, RL_STR("one")), m).delivered, 1);
    CHECK_INT(rl_layer_send(&layer, rl_layer_find(&layer, RL_STR("nobody")), m).delivered, 0);
    CHECK_INT(rl_layer_group_count(&layer, RL_STR("room")), 3);
    for (int i = 0; i < 4; i++)
        rl_channel_close(ch[i]);
    CHECK_INT(rl_layer_group_count(&layer, RL_STR("room")), 0);
    rl_message_unref(m);
    rl_layer_fini(&layer);
}

static void checks_names(void)
{
    char long_name[101];

    memset(long_name, 'a', sizeof(long_name));
    CHECK(rl_layer_valid_group((rl_str){long_name, 99}));
    CHECK(!rl_layer_valid_group((rl_str){long_name, 100}));
    CHECK(!rl_layer_valid_group(RL_STR("chat\n")));
    CHECK(!rl_layer_valid_group(RL_STR("a!b")) && rl_layer_valid_channel(RL_STR("a!b")));
    CHECK(!rl_layer_valid_channel(RL_STR("a!b!c")) && !rl_layer_valid_channel(RL_STR("!a")));
    CHECK(!rl_layer_valid_group(RL_STR("")) && !rl_layer_valid_group(RL_STR("caf\xc3\xa9")));
}

/* What was told, as "+name" and "-name", channels with a "!" in front; in no order, so by one. */
struct told {
    char text[256];
};

static void tell(void *arg, rl_change change, rl_str name)
{
    static const char *const marks[] = {"+", "-", "!+", "!-"};
    struct told *told = arg;
    size_t n = strlen(told->text);

    snprintf(told->text + n, sizeof(told->text) - n, "%s%.*s ", marks[change], (int)name.n, name.p);
}

static unsigned changed;

static void on_changed(rl_layer *layer)
{
    CHECK(rl_layer_is_changing(layer));
    changed++;
}

static const char *taken(rl_layer *layer, struct told *told)
{
    *told = (struct told){0};
    rl_layer_take_changes(layer, tell, told);
    CHECK(!rl_layer_is_changing(layer));
    return told->text;
}

static void keeps_the_difference(void)
{
    rl_layer layer;
    struct member people[2] = {0};
    struct told told;

    rl_layer_init(&layer);
    rl_channel *first = rl_channel_open(&layer, RL_STR("specific.x!y"), take, &people[0]);
    rl_layer_join(&layer, RL_STR("old"), first);
    CHECK_INT(strcmp(taken(&layer, &told), ""), 0); /* nobody watches */
    rl_layer_watch(&layer, on_changed);
    CHECK(rl_layer_group_is_changing(&layer, RL_STR("old")));
    CHECK(changed == 1 && strcmp(taken(&layer, &told), "+old ") == 0);

    rl_channel *second = rl_channel_open(&layer, RL_STR("work"), take, &people[1]);
    CHECK(changed == 2 && strcmp(taken(&layer, &told), "!+work ") == 0);
    rl_layer_join(&layer, RL_STR("old"), second); /* neither its first nor its last */
    rl_layer_leave(&layer, RL_STR("old"), first);
    CHECK(!rl_layer_is_changing(&layer));
    rl_layer_leave(&layer, RL_STR("old"), second);
    rl_layer_join(&layer, RL_STR("brief"), second);
    CHECK_INT(changed, 3);
    rl_layer_leave(&layer, RL_STR("brief"), second); /* as if it had never been */
    CHECK(strcmp(taken(&layer, &told), "-old ") == 0);
    rl_layer_join(&layer, RL_STR("kept"), first);
    taken(&layer, &told);
    rl_layer_leave(&layer, RL_STR("kept"), first);
    rl_layer_join(&layer, RL_STR("kept"), second); /* it never stopped, for others */
    CHECK(strcmp(taken(&layer, &told), "") == 0);
    told.text[0] = '\0';
    rl_layer_list(&layer, tell, &told);
    CHECK(strcmp(told.text, "+kept !+work ") == 0);
    CHECK(!rl_channel_is_member(first) && rl_channel_is_member(second));
    rl_channel_close(second);
    CHECK(strcmp(taken(&layer, &told), "-kept !-work ") == 0);
    rl_channel_close(first);
    rl_layer_fini(&layer);
}

int main(void)
{
    keeps_the_difference();
    fans_out_to_members_only();
    checks_names();
    return unit_done();
}
