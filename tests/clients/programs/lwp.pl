# The story with LWP: lwp.pl BASE IDLE_SECONDS
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use LWP::UserAgent;

my ($base, $idle) = @ARGV;
my $agent = LWP::UserAgent->new(keep_alive => 4, timeout => 40);
$| = 1;
for (["kept", 0], ["again", 0], ["post", 300_000], ["refused", 3_000_000], ["closed", 0]) {
    my ($step, $size) = @$_;
    my $got = $size
        ? $agent->post("$base/$step", "Content-Type" => "text/plain", Content => "u" x $size)
        : $agent->get("$base/$step");
    if (($got->header("Client-Warning") // "") eq "Internal response") {
        print "$step error ", $got->status_line, "\n";
    } else {
        my $body = $got->content;
        print join(" ", $step, $got->code, length($body), sha256_hex($body)), "\n";
    }
    sleep($idle + 0.999) if $step eq "kept" or $step eq "closed";
}
